"""Part of gpu.py: whether a device computes in exact float32 and float64 what a CPU computes."""

from __future__ import annotations

from pathlib import Path

import networks
import torch
from measuring import table
from networks import Case
from torch import Tensor, nn

from jobs.eigenvalues import start_vector
from jobs.hessian import Hessian
from jobs.sharpness import SharpnessMeter

SAMPLES = {"fc": (1000, 100), "cnn": (500, 20), "vit": (100, 4)}
"""Of each network, and when few are asked for."""

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}
"""Of the residual of λ: its own error is about the square of that."""


def settings(device: torch.device, size: int) -> None:
    """Print what is switched off, and the errors of a matrix product and a convolution."""
    print(f"- float32 matrix products: {torch.get_float32_matmul_precision()}")
    print(f"- TF32 in cuBLAS: {torch.backends.cuda.matmul.allow_tf32}")
    print(f"- TF32 in cuDNN: {torch.backends.cudnn.allow_tf32}")
    print(f"- autocast: {torch.is_autocast_enabled(device.type)}\n")
    left, right = (torch.randn(size, size, device=device) for _ in range(2))
    images = torch.randn(16, 32, 32, 32, device=device)
    filters = torch.randn(32, 32, 3, 3, device=device)
    rows = []
    for name, function, inputs in (
        (f"product of {size} × {size} matrices", torch.matmul, (left, right)),
        ("convolution, 3 × 3, 32 channels", nn.functional.conv2d, (images, filters)),
    ):
        exact = function(*(tensor.double() for tensor in inputs))
        rows.append([name, f"{apart(function(*inputs), exact):.0e}"])
    table(["float32 beside float64 (TF32 would be 1e-4 to 1e-3 off)", "difference"], rows, True)


def differences(target: torch.device, small: bool, folder: Path | None) -> None:
    """Print how far gradients, products and eigenvalues are from those of the CPU in float64."""
    print("Relative differences from the CPU in float64; the CPU in float32 is the yardstick.\n")
    places = [("cpu", torch.float32), (str(target), torch.float32), (str(target), torch.float64)]
    rows = []
    for name, samples in SAMPLES.items():
        case = networks.case(name, samples[small], folder)
        double = case.at(case.theta.double())
        exact = *derivatives(double), sharpness(double)
        for device, dtype in dict.fromkeys(places):
            there = case.at(case.theta.to(device, dtype))
            first, again = derivatives(there), derivatives(there)
            found = *first, sharpness(there)
            rows.append([f"{name}, n = {case.samples}", device, str(dtype).split(".")[-1]])
            rows[-1] += [f"{apart(*pair):.0e}" for pair in zip(found, exact, strict=True)]
            same = all(torch.equal(*pair) for pair in zip(first, again, strict=True))
            rows[-1].append("yes" if same else "NO")
    heads = ["network", "device", "dtype", "gradient", "product", "dominant λ"]
    table([*heads, "same bits twice"], rows, True)


def derivatives(case: Case) -> tuple[Tensor, Tensor]:
    """∇L, and H v for a fixed v."""
    theta, goal = case.theta, case.objective(case.planned())
    _, gradient = goal.gradient(theta)
    return gradient, Hessian(goal, theta) @ start_vector(len(theta), theta)


def sharpness(case: Case) -> Tensor:
    """S."""
    meter = SharpnessMeter(case.objective(case.planned()), TOLERANCE[case.theta.dtype])
    return torch.tensor(meter.measure(case.theta).sharpness, dtype=torch.float64)


def apart(one: Tensor, other: Tensor) -> float:
    """The norm of the difference relative to that of the other tensor."""
    exact = other.cpu().double()
    return float((one.cpu().double() - exact).norm() / exact.norm())
