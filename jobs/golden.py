"""The golden checks: numbers that are known from elsewhere, computed again on this hardware.

Each check is a comparison with a closed form, a published number or another method, and says what
was expected, what was found and whether that agrees.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from jobs.curvature.eigenvalues import start_vector
from jobs.curvature.hessian import Hessian
from jobs.curvature.sharpness import sharpness_at
from jobs.numerics import reproducible
from jobs.objective import Objective
from jobs.problem import pose
from jobs.records import TrialResult
from jobs.spec import Problem, Protocol, Trial
from jobs.trial import run_trial

POINT = "point(x=[2.0, 1.0], truth=[0.5, 0.5])"


class GoldenRun(NamedTuple):
    """How GD ends: its steps, S, S·η/2, ‖w‖₁, ‖w‖₂, and the risk ‖w∘w − (½, ½)‖²."""

    steps: int
    sharpness: float
    edge_ratio: float
    l1_norm: float
    l2_norm: float
    risk: float


GOLDEN_RUNS = {
    0.05: GoldenRun(33, 11.9550, 0.2989, 0.9688, 0.8693, 0.2986),
    0.15: GoldenRun(58, 11.9324, 0.8949, 0.9911, 0.8709, 0.2917),
    0.18: GoldenRun(1397, 11.0562, 0.9951, 1.2807, 0.9317, 0.0872),
    0.20: GoldenRun(611, 9.8797, 0.9880, 1.4244, 1.0075, 0.0011),
    0.22: GoldenRun(405, 8.9232, 0.9815, 1.4815, 1.0652, 0.0906),
    0.25: GoldenRun(292, 7.7933, 0.9742, 1.4990, 1.1295, 0.3804),
}
"""By η, the diagonal network f = ⟨w∘w, x⟩ on one sample x = (2, 1) with y = 1.5, from
w = (0.01, 0.01) until ½(f − y)² ≤ 10⁻¹² (derived independently of this code)."""

GOLDEN_S_GF = 11.9655
"""The largest sharpness along the gradient flow of the same problem."""

NETWORKS = ("fcn", "cnn", "resnet", "vit")


@dataclass(frozen=True)
class Check:
    """One comparison: what was compared, what should come out, what did, and whether it holds."""

    check: str
    expected: str
    found: str
    holds: bool


def golden_checks(device: str = "cpu", threads: int | None = None) -> Iterator[Check]:
    """All golden checks on a device, one after the other; seconds each.

    Raises:
        PlacementError: the device is not there.
    """
    yield from _diagonal_network(device, threads)
    for architecture in NETWORKS:
        with reproducible(threads):
            yield _hessian_product(architecture, device)
    with reproducible(threads):
        yield _extreme_eigenvalues(device)
    yield from _transition(device, threads)


def _diagonal_network(device: str, threads: int | None) -> Iterator[Check]:
    """Steps to the last one, and S and the norms to the four digits that are given."""
    problem = Problem(
        dataset=POINT, n_train=1, architecture="diagonal", init_scale=0.01, dtype="float64"
    )
    protocol = Protocol(epsilons=(1e-12,), sharpness_rtol=1e-9, trajectory_every=1)
    flow = run_trial(
        Trial(problem=problem, protocol=protocol, kind="flow"), device=device, threads=threads
    )
    highest = flow.crossings[-1].max_sharpness or math.nan
    yield Check(
        "diagonal network, s_gf along its flow",
        f"{GOLDEN_S_GF}",
        f"{highest:.4f}",
        abs(highest - GOLDEN_S_GF) < 1e-3 * GOLDEN_S_GF,
    )
    for eta, golden in GOLDEN_RUNS.items():
        trial = Trial(problem=problem, protocol=protocol, kind="gd", learning_rate=eta)
        row = run_trial(trial, device=device, threads=threads).crossings[-1]
        numbers = (golden.sharpness, golden.l1_norm, golden.l2_norm)
        found = [value or math.nan for value in (row.sharpness, row.l1_norm, row.l2_norm)]
        yield Check(
            f"diagonal network, GD at η = {eta:g}",
            _ended(golden.steps, *numbers),
            _ended(row.steps, *found),
            row.steps == golden.steps
            and all(abs(a - b) <= 1.01e-4 for a, b in zip(found, numbers, strict=True)),
        )


def _ended(steps: int, sharpness: float, l1_norm: float, l2_norm: float) -> str:
    return f"{steps} steps, S {sharpness:.4f}, ‖w‖₁ {l1_norm:.4f}, ‖w‖₂ {l2_norm:.4f}"


def _small(architecture: str) -> Problem:
    sizes = {"fcn": (12, 2), "cnn": (4, 1), "resnet": (8, 1), "vit": (8, 1)}
    width, depth = sizes[architecture]
    return Problem(
        dataset="digits",
        n_train=20,
        architecture=architecture,
        width=width,
        depth=depth,
        activation="tanh",
        dtype="float64",
    )


def _hessian_product(architecture: str, device: str) -> Check:
    """Hv against the central difference of ∇L, whose error is O(h²) of its third derivative."""
    objective, _, theta = pose(_small(architecture), device)
    # Off the initial point: heads that begin at zero would hide what lies before them.
    theta = theta + 0.05 * start_vector(len(theta), theta) * math.sqrt(len(theta))
    direction = start_vector(len(theta), theta, 1)
    product = Hessian(objective, theta) @ direction
    step = 1e-5
    ahead, behind = (objective.gradient(theta + h * direction)[1] for h in (step, -step))
    error = float((product - (ahead - behind) / (2 * step)).norm() / product.norm())
    return Check(
        f"{architecture}, Hessian product against differences of the gradient",
        "a relative error below 1e-6",
        f"{error:.1e}",
        error < 1e-6,
    )


def _extreme_eigenvalues(device: str) -> Check:
    """Both ends of the spectrum against all eigenvalues of the dense Hessian."""
    objective, _, theta = pose(_small("fcn"), device)
    dense = _dense_hessian(objective, theta)
    every = torch.linalg.eigvalsh(dense)
    found = sharpness_at(objective, theta, rtol=1e-9)
    errors = abs(found.lambda_max - float(every[-1])), abs(found.lambda_min - float(every[0]))
    return Check(
        "fcn, both ends of the spectrum against the dense Hessian",
        f"{float(every[-1]):.6f} and {float(every[0]):.6f}",
        f"{found.lambda_max:.6f} and {found.lambda_min:.6f}",
        all(error < 1e-6 * found.sharpness for error in errors) and found.converged,
    )


def _dense_hessian(objective: Objective, theta: Tensor) -> Tensor:
    identity = torch.eye(len(theta), dtype=theta.dtype, device=theta.device)
    matrix = Hessian(objective, theta).products(identity)
    return (matrix + matrix.T) / 2


def _transition(device: str, threads: int | None) -> Iterator[Check]:
    """Flat below η_c, on 2/η above it: what the whole tool is about, on a small real problem."""
    problem = Problem(
        dataset="digits", n_train=300, width=24, depth=2, activation="tanh", dtype="float64"
    )
    protocol = Protocol(epsilons=(0.05,), max_steps=20_000)

    def run(eta: float | None) -> TrialResult:
        trial = Trial(
            problem=problem,
            protocol=protocol,
            kind="flow" if eta is None else "gd",
            learning_rate=eta,
        )
        return run_trial(trial, device=device, threads=threads)

    eta_c = 2 / (run(None).crossings[-1].max_sharpness or math.nan)
    below = [run(factor * eta_c).crossings[-1].sharpness or math.nan for factor in (0.5, 0.7, 0.9)]
    spread = float(np.ptp(below) / np.median(below))  # NaN if one of them is, where max may not be
    yield Check(
        "fcn on digits, spread of S below η_c", "below 0.05", f"{spread:.4f}", spread < 0.05
    )
    above = [
        (run(factor * eta_c).crossings[-1].sharpness or math.nan) * factor * eta_c / 2
        for factor in (1.3, 1.6, 2.0)
    ]
    yield Check(
        "fcn on digits, S·η/2 above η_c",
        "0.95 to 1.1",
        ", ".join(f"{ratio:.3f}" for ratio in above),
        all(0.95 <= ratio <= 1.1 for ratio in above),
    )
