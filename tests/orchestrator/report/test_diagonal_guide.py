"""docs/diagonal.md: its examples run, its table of GD is what GD does, its figure is there."""

import doctest
from pathlib import Path

import numpy as np
import pytest

from jobs.diagonal import risk, sharpness
from jobs.golden import GOLDEN_RUNS

DOCS = Path(__file__).parents[3] / "docs"
GUIDE = (DOCS / "diagonal.md").read_text(encoding="utf-8")


def rows(head: str) -> list[list[str]]:
    """The cells of the table with this head."""
    table = GUIDE.partition(head + "\n")[2].partition("\n\n")[0]
    return [line.strip("| ").split(" | ") for line in table.splitlines()[1:]]


def test_the_examples_run(tmp_path) -> None:
    # The example of the figure draws all 2,000 rates, as a reader would.
    names = {"folder": tmp_path}
    test = doctest.DocTestParser().get_doctest(GUIDE, names, "diagonal.md", None, 0)
    outcome = doctest.DocTestRunner().run(test)
    assert outcome.attempted > 12
    assert outcome.failed == 0
    assert (tmp_path / "diagonal.png").stat().st_size < 200_000


def test_the_figure_is_there_and_small() -> None:
    assert "](diagonal.png)" in GUIDE
    assert 20_000 < (DOCS / "diagonal.png").stat().st_size < 200_000


def test_the_table_of_gd_is_that_of_the_golden_runs() -> None:
    table = np.array(rows("| η | steps | S | S·η/2 | ‖w‖₁ | ‖w‖₂ | R |"), dtype=float)
    assert table.tolist() == [[eta, *run] for eta, run in GOLDEN_RUNS.items()]


def test_the_table_of_several_points_is_consistent() -> None:
    x = np.array([[0.8301, 1.0197, 1.7071, 0.9956], [1.2343, 0.3469, 1.581, 1.2148]])
    truth = np.array([0.3968, 0.8096, 0.3729, 0.5081])
    for name, beta, s, norm, error in rows("| | β | S | ‖w‖₂² | R |"):
        value = truth if name == "truth" else np.array(beta.strip("()").split(", "), dtype=float)
        assert x @ value == pytest.approx(x @ truth, abs=2e-4)
        assert float(sharpness(x, value)) == pytest.approx(float(s), abs=1e-3)
        assert value.sum() == pytest.approx(float(norm), abs=6e-4)
        assert float(risk(value, truth)) == pytest.approx(float(error), abs=1e-3)
