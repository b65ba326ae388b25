"""Labels of columns: what people tell columns apart by, and no more."""

from __future__ import annotations

from typing import Any

import pytest

from jobs.spec import Problem, Protocol
from orchestrator.sweep import Column, EtaGrid, Resources
from orchestrator.sweep.labels import column_label, column_labels


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
            "point(x=[2, 1], truth=[0.5, 0.5]) n=1 diagonal depth 2 mse",
        ),
        (
            {"architecture": "mynet.py:build(width, depth)@0123456789abcdef", "width": 9},
            "digits-60 mynet.py:build 2×9 mse standard seed 0",
        ),
        (
            {"architecture": "mynet.py:build(width)@0123456789abcdef", "width": 9},
            "digits-60 mynet.py:build width 9 mse standard seed 0",
        ),
        (
            {"architecture": "mynet.py:build()@0123456789abcdef"},
            "digits-60 mynet.py:build mse seed 0",
        ),
        ({"depth": 0}, "digits-60 fcn depth 0 mse seed 0"),
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
def test_a_label_has_sizes_and_fields_that_differ_from_their_default(
    problem: dict[str, object], label: str
) -> None:
    assert column_label(column(Problem(**{"dataset": "digits", "n_train": 60, **problem}))) == label


DIGITS = "digits-60 fcn 2×200 relu mse standard seed 0"


@pytest.mark.parametrize(
    ("protocols", "ends"),
    [
        ([{}], [""]),
        ([{"epsilons": (0.1, 0.05)}, {}], [" ε 0.1, 0.05", " ε 0.1"]),
        (
            [{"max_steps": 500}, {"trajectory_every": 10}, {"max_steps": 200}],
            [
                " max_steps 500",
                " max_steps 100000 trajectory_every 10",
                " max_steps 200",
            ],
        ),
        ([{}, {"also": ("norms",), "midpoint": True}], ["", " also norms midpoint"]),
        (
            [{"divergence_factor": 1000.0}, {"divergence_factor": 1000.0001}],
            [" divergence_factor 1000", " divergence_factor 1000.0001"],
        ),
    ],
)
def test_one_problem_under_several_protocols_says_what_differs(
    protocols: list[dict[str, Any]], ends: list[str]
) -> None:
    problem, other = (Problem(dataset="digits", n_train=60, seed=seed) for seed in (0, 1))
    columns = [column(problem, **{"epsilons": (0.1,), **protocol}) for protocol in protocols]
    labels = column_labels([*columns, column(other, epsilons=(0.2,))])
    assert [labels[one.column_id] for one in columns] == [DIGITS + end for end in ends]
    assert labels[column(other, epsilons=(0.2,)).column_id] == DIGITS.replace("seed 0", "seed 1")


def test_two_networks_of_one_name_are_told_apart_by_their_contents() -> None:
    digests = ("0123456789abcdef", "fedcba9876543210")
    columns = [
        column(Problem(dataset="digits", n_train=60, architecture=f"mynet.py:build()@{digest}"))
        for digest in digests
    ]
    labels = column_labels(columns)
    for one, digest in zip(columns, digests, strict=True):
        assert labels[one.column_id] == f"{column_label(one)} @{digest}"


def column(problem: Problem, epsilons: tuple[float, ...] = (0.1,), **protocol: Any) -> Column:
    return Column(
        problem=problem,
        protocol=Protocol(epsilons=epsilons, **protocol),
        etas=(EtaGrid(unit="eta_c", multiples=(1.0,)),),
        stop_after_divergences=None,
        resources=Resources(),
    )
