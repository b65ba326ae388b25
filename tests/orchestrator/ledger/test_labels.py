"""Labels of columns: what people tell columns apart by, and no more."""

from __future__ import annotations

import pytest

from jobs.spec import Problem, Protocol
from orchestrator.ledger.status import column_label
from orchestrator.sweep import Column, EtaGrid, Resources


@pytest.mark.parametrize(
    ("problem", "label"),
    [
        (
            {"width": 8, "init_scale": 0.5, "seed": 3},
            "digits-60 fcn 2×8 relu mse standard ×0.5 seed 3",
        ),
        ({"architecture": "vit", "loss": "ce"}, "digits-60 vit 4×64 gelu ce standard seed 0"),
        (
            {
                "dataset": "point(x=[2, 1], truth=[0.5, 0.5])",
                "n_train": 1,
                "architecture": "diagonal",
            },
            "point(x=[2, 1], truth=[0.5, 0.5]) n=1 diagonal depth 2 mse seed 0",
        ),
        (
            {"architecture": "mynet.py:build@0123456789abcdef", "width": 9},
            "digits-60 mynet.py:build 2×9 relu mse standard seed 0",
        ),
        (
            {"parameterization": "mup", "base_width": 64, "width": 256, "dtype": "float64"},
            "digits-60 fcn 2×256 relu mse mup (base width 64) float64 seed 0",
        ),
        (
            {"subset": "balanced", "normalization": "none"},
            "digits-60 balanced unnormalized fcn 2×200 relu mse standard seed 0",
        ),
        (
            {"dataset": "cifar10", "n_train": 5000, "architecture": "cnn"},
            "cifar10-5000 cnn 2×32 relu mse standard seed 0",
        ),
        (
            {"dataset": "cifar10", "n_train": 5000, "normalization": "channel"},
            "cifar10-5000 channel-normalized fcn 2×200 relu mse standard seed 0",
        ),
    ],
)
def test_a_label_says_sizes_and_what_is_not_usual(problem: dict[str, object], label: str) -> None:
    column = Column(
        problem=Problem(**{"dataset": "digits", "n_train": 60, **problem}),
        protocol=Protocol(epsilons=(0.1,)),
        etas=(EtaGrid(unit="eta_c", rates=(1.0,)),),
        stop_after_divergences=None,
        resources=Resources(),
    )
    assert column_label(column) == label
