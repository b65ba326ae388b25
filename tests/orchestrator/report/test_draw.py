"""Figures of a run directory: which are drawn, where they go, and what drawing leaves alone."""

import subprocess
import sys
import warnings
from functools import partial

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.image import imread

from orchestrator.report import draw_figures
from orchestrator.report.report_figure import DOTS_PER_INCH
from orchestrator.store import StoreError

draw_transition = partial(draw_figures, names=["transition"], formats=["png"])


@pytest.fixture
def coarse(monkeypatch) -> None:
    """Pictures of few pixels, where many are drawn."""
    monkeypatch.setattr("orchestrator.report.report_figure.DOTS_PER_INCH", 30)


def test_a_column_becomes_a_png_fit_for_print(run, column) -> None:
    run.add(column())
    (path,) = draw_transition(run.path)
    assert path == run.path / "report" / "transition-c0ffee.png"
    assert path.read_bytes().startswith(b"\x89PNG\r\n")
    assert 20_000 < path.stat().st_size < 1_000_000
    pixels = imread(path)[..., :3]
    assert pixels.shape[:2] == (9.0 * DOTS_PER_INCH, 7.2 * DOTS_PER_INCH)
    assert 0.02 < np.mean(np.any(pixels < 0.9, axis=2)) < 0.5
    assert np.all(pixels[0] == 1)


def test_an_empty_run_has_no_figures(run) -> None:
    said: list[str] = []
    assert draw_transition(run.path, warn=said.append) == []
    assert said == ["no figure is drawn: no trial has settled yet"]


def test_a_missing_run_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        draw_transition(tmp_path / "nowhere")


@pytest.mark.usefixtures("coarse")
def test_every_column_has_its_figure_in_the_order_of_problems(run, column) -> None:
    run.add(column(column_id="aaa", width=128))
    run.add(column(column_id="bbb", width=32))
    run.add(column(column_id="ccc", width=None))
    names = [path.name for path in draw_transition(run.path)]
    assert names == ["transition-ccc.png", "transition-bbb.png", "transition-aaa.png"]


@pytest.mark.usefixtures("coarse")
def test_the_figures_can_go_elsewhere(run, column, tmp_path) -> None:
    run.add(column())
    (path,) = draw_transition(run.path, tmp_path / "paper" / "figures")
    assert path == tmp_path / "paper" / "figures" / "transition-c0ffee.png"
    assert path.exists()
    assert not (run.path / "report").exists()


@pytest.mark.usefixtures("coarse")
def test_drawing_again_gives_the_same_files_and_no_others(run, column) -> None:
    run.add(column())
    (path,) = draw_transition(run.path)
    before = path.read_bytes()
    assert draw_transition(run.path) == [path]
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.usefixtures("coarse")
def test_more_columns_than_a_person_looks_through_are_cut_and_that_is_said(
    run, column, monkeypatch
) -> None:
    monkeypatch.setattr("orchestrator.report.draw.MOST_FIGURES", 2)
    for seed in range(3):
        run.add(column(column_id=f"s{seed}", seed=seed, etas=(0.1,), epsilons=(0.1,)))
    said: list[str] = []
    paths = draw_transition(run.path, warn=said.append)
    assert [path.name for path in paths] == ["transition-s0.png", "transition-s1.png"]
    assert said == ["only 2 of 3 columns have figures of their own: s0, s1"]
    with pytest.warns(UserWarning, match="only 2 of 3"):
        draw_transition(run.path)
    said.clear()
    draw_figures(run.path, names=["agreement"], warn=said.append)
    assert not any("figures of their own" in sentence for sentence in said)


def test_a_column_cannot_name_a_file_outside_the_folder(run, column) -> None:
    run.add(column(column_id="../../evil", etas=(0.1,), epsilons=(0.1,)))
    (path,) = draw_transition(run.path)
    assert path == run.path / "report" / "transition-------evil.png"
    assert path.exists()


def test_a_folder_that_cannot_be_made_is_named(run, column) -> None:
    run.add(column())
    (run.path / "report").write_text("in the way")
    with pytest.raises(StoreError, match="report could not be made"):
        draw_transition(run.path)


def test_drawing_leaves_matplotlib_as_it_was(run, column) -> None:
    run.add(column(etas=(0.1,), epsilons=(0.1,)))
    before = dict(mpl.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_transition(run.path)
    assert dict(mpl.rcParams) == before


def test_importing_the_report_chooses_no_backend_and_waits_for_no_solvers() -> None:
    left_out = {"matplotlib.pyplot", "scipy.integrate", "scipy.optimize"}
    code = f"import sys, orchestrator.report; print({left_out} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
