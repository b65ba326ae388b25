"""Part of gpu.py: whether a device computes in exact float32 and float64 what a CPU computes."""

from __future__ import annotations

import networks
import torch
from networks import Case
from report import Bench
from torch import Tensor, nn

from jobs.curvature.eigenvalues import start_vector
from jobs.curvature.hessian import Hessian
from jobs.curvature.sharpness import SharpnessMeter

SAMPLES = {"fc": (1000, 10), "cnn": (500, 4), "vit": (100, 2)}
"""Of each network, and when few are asked for."""

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}
"""Of the residual of λ: its own error is about the square of that."""


def settings(bench: Bench, size: int = 0) -> list[list[str]]:
    """What is switched off; or with a size the errors of a matrix product and a convolution."""
    device = bench.device
    if not size:
        return [
            ["float32 matrix products", torch.get_float32_matmul_precision()],
            ["TF32 in cuBLAS", str(torch.backends.cuda.matmul.allow_tf32)],
            ["TF32 in cuDNN", str(torch.backends.cudnn.allow_tf32)],
            ["autocast", str(torch.is_autocast_enabled(device.type))],
        ]
    left, right = (torch.randn(size, size, device=device) for _ in range(2))
    images = torch.randn(16, 32, 32, 32, device=device)
    filters = torch.randn(32, 32, 3, 3, device=device)
    product, convolved = left @ right, nn.functional.conv2d(images, filters)
    exact = left.double() @ right.double()
    exactly = nn.functional.conv2d(images.double(), filters.double())
    return [
        [f"product of {size} × {size} matrices", f"{apart(product, exact):.0e} off"],
        ["convolution, 3 × 3, 32 channels", f"{apart(convolved, exactly):.0e} off"],
    ]


def differences(bench: Bench, name: str) -> list[list[str]]:
    """How far gradient, product and eigenvalue are from those of the CPU in float64."""
    target, rows = str(bench.device), []
    places = [("cpu", torch.float32), (target, torch.float32), (target, torch.float64)]
    case = networks.case(name, SAMPLES[name][bench.small], bench.folder)
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
    return rows


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
