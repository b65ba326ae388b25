"""The guide to the analysis names every table, column, statement, bound and example."""

import re
from pathlib import Path

import pytest

from orchestrator.analysis import bounds
from orchestrator.analysis.run import judged
from orchestrator.store import ANALYSIS, MEASURES, TRIALS, examples

GUIDE = (Path(__file__).parents[3] / "docs" / "analysis.md").read_text()
NAMED = set(re.findall(r"`([a-z0-9_]+)`", GUIDE))


@pytest.mark.parametrize("table", ANALYSIS)
def test_every_table_and_column_is_explained(table) -> None:
    assert {table, *ANALYSIS[table].names} <= NAMED


def test_every_example_is_listed() -> None:
    assert {one.name for one in examples()} <= NAMED


def test_bounds_have_the_values_that_the_guide_says() -> None:
    said = dict(re.findall(r"([A-Z_]{4,}) = ([0-9.]+)", GUIDE))
    assert len(said) >= 9
    for name, value in said.items():
        bound = getattr(bounds, name)
        assert float(value.rstrip(".")) == (bound[0] if isinstance(bound, tuple) else bound)


def test_every_statement_is_listed() -> None:
    _, asked = judged(TRIALS.empty_table(), MEASURES.empty_table())
    assert len(asked) >= 30
    assert set(asked) <= NAMED
