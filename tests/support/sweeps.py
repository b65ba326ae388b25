"""Sweeps that tests read and widen, what they come to, and how they are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.sweep import Sweep, SweepError, parse

QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yaml"

POINT = """
name: point
problem: {dataset: digits, n_train: 100}
eta: {values: [1]}
stop: {epsilon: 0.1}
"""


def found(sweep: Sweep, *fields: str) -> list[tuple[object, ...]]:
    """The values that each column's problem has of some fields."""
    return [tuple(getattr(c.problem, field) for field in fields) for c in sweep.columns]


def refused(text: str, *overrides: str) -> str:
    """The sentence by which a sweep file is refused."""
    with pytest.raises(SweepError) as error:
        parse(text, overrides)
    return str(error.value)
