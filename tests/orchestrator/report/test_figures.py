"""All figures of a run: from its tables alone, the same again, whatever the names in them are."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from orchestrator.report import FIGURES, draw_figures, figures_of, save
from orchestrator.report.draw import MOST_FIGURES

HOSTILE = [
    {"dataset": "$x$", "activation": r"\frac{", "parameterization": "_$", "loss": "'); DROP"},
    {
        "dataset": "<script>&",
        "activation": "two\nlines\x07\x00",
        "parameterization": "$",
        "loss": "",
    },
    {name: name[0] * 3000 for name in ("dataset", "activation", "parameterization", "loss")},
]
"""Names that are mathematics, markup, SQL or too long for Matplotlib, XML or DuckDB."""


def add_grid(run, column, **values) -> None:
    """Columns of two widths, two seeds and two losses, with trajectories."""
    for width in (16, 32):
        for seed in (0, 1):
            for loss in ("mse", "ce"):
                name = f"{loss}-{width}-{seed}"
                known: dict[str, Any] = {"width": width, "seed": seed, "loss": loss}
                run.add(column(**{"column_id": name, **known, **values}))
                steps = [
                    {
                        "trial_id": f"{name}-gd-{eta}",
                        "column_id": name,
                        "step": step,
                        "time": eta * step,
                        "train_loss": 1 / (1 + step),
                        "sharpness": 2 / eta,
                        "l1_norm": 1.0 + step,
                    }
                    for eta in (0.02, 0.05)
                    for step in range(3)
                ]
                run.add(steps, "trajectories")


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def test_every_figure_with_data_is_drawn_with_its_caption_and_the_others_are_named(
    run, column
) -> None:
    add_grid(run, column)
    said: list[str] = []
    figures = list(figures_of(run.path, warn=said.append))
    names = [drawn.name for drawn in figures]
    assert {kind: sum(name.startswith(kind) for name in names) for kind in FIGURES} == {
        "transition": 8,
        "test-loss": 4,
        "trajectories": 8,
        "sharpness-by-threshold": 1,
        "trade-off": 4,
        "central": 0,
        "starts": 0,
        "widths": 2,
        "agreement": 1,
        "manifold": 0,
    }
    assert len(set(names)) == len(names)
    without_central, without_starts, left_out = said
    assert without_central.startswith("figure central is left out: no column has central flows")
    assert without_starts.startswith("figure starts is left out: no trial begins at a state of")
    assert left_out.startswith("figure manifold is left out: no column is a diagonal network")
    for drawn in figures:
        words = drawn.texts()
        assert min(len(words[name]) for name in ("title", "alternative")) > 20
        assert len(words["caption"]) > 100
        assert words["caption"].endswith(".")
        assert words["alternative"].endswith(".")
        assert "\n" not in "".join(words.values())


def test_a_copy_without_anything_but_tables_is_drawn_and_left_as_it_is(
    run, column, tmp_path
) -> None:
    run.add(column())
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy, ignore=lambda *_: {"claims", "logs", "checkpoints"})
    for folder in (*copy.iterdir(), copy):
        folder.chmod(0o500)
    before = everything(copy)
    said: list[str] = []
    paths = draw_figures(copy, tmp_path / "figures", warn=said.append)
    assert everything(copy) == before
    assert {path.parent for path in paths} == {tmp_path / "figures"}
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(
        path.name for path in paths
    )
    for path in paths:
        if path.suffix == ".png":
            assert imread(path).ndim == 3
        else:
            ElementTree.parse(path)
    assert any("trajectories is left out: no trial near η_c has a trajectory" in s for s in said)
    for folder in (copy, *copy.iterdir()):
        folder.chmod(0o700)


def test_the_same_tables_give_the_same_bytes(run, column, tmp_path) -> None:
    run.add(column())
    names = ["sharpness-by-threshold"]
    formats = ("png", "svg", "pdf")
    first, again = (
        draw_figures(run.path, tmp_path / folder, names=names, formats=formats, warn=lambda _: None)
        for folder in ("first", "again")
    )
    assert len(first) == 3
    assert [path.name for path in first] == [path.name for path in again]
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_only_the_figures_that_are_asked_for_are_drawn(run, column) -> None:
    run.add(column())
    (drawn,) = figures_of(run.path, names=["sharpness-by-threshold"])
    assert drawn.name == "sharpness-by-threshold"
    with pytest.raises(
        ValueError, match="figure is 'bar'; it must be one of transition, test-loss"
    ):
        next(figures_of(run.path, names=["bar"]))


def test_the_guide_lists_every_figure() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "report.md").read_text(encoding="utf-8")
    table = guide.partition("| `--figures` |")[2].partition("\n\n")[0]
    rows = table.splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(FIGURES)
    assert f"Of more than {MOST_FIGURES} columns" in guide


def test_a_run_without_trials_has_no_figures(run, tmp_path) -> None:
    said: list[str] = []
    assert draw_figures(run.path, tmp_path / "figures", warn=said.append) == []
    assert said == ["no figure is drawn: no trial has settled yet"]
    assert not (tmp_path / "figures").exists()


def test_the_captions_are_in_the_files(run, column, tmp_path) -> None:
    run.add(column(dataset="<b>&"))
    (drawn,) = figures_of(run.path, names=["trade-off"])
    png, svg = save(drawn, tmp_path)
    described = "{http://purl.org/dc/elements/1.1/}"
    tree = ElementTree.parse(svg).getroot()
    assert next(tree.iter(f"{described}title")).text == drawn.title
    assert next(tree.iter(f"{described}description")).text == drawn.alternative
    assert "<b>&" in drawn.title
    assert drawn.alternative.encode("utf-8") in png.read_bytes()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("names", HOSTILE, ids=["mathematics", "markup", "length"])
def test_names_are_never_markup(run, column, names: dict[str, str]) -> None:
    for number, dataset in enumerate((names["dataset"], f"{names['dataset']}2")):
        for width in (16, 32):
            name = f"{names['loss'][:40]}{number}{width}"
            values = {**names, "dataset": dataset, "width": width, "column_id": name}
            run.add(column(epsilons=(0.1, 0.05), **values))
    said: list[str] = []
    kinds = ("sharpness-by-threshold", "widths", "agreement", "test-loss", "trade-off")
    rendered: list[str] = []
    for drawn in figures_of(run.path, names=kinds, warn=said.append):
        assert len(drawn.title) < 400
        assert drawn.title.isprintable()
        kind = next(kind for kind in kinds if drawn.name.startswith(kind))
        if kind not in rendered:
            rendered.append(kind)
            _render(drawn.figure)
    assert set(rendered) == set(kinds)
    assert said == []


def _render(figure: Figure) -> None:
    """Lay out and set all text, as for a file, without making one."""
    figure.set_dpi(40)
    figure.draw_without_rendering()


def test_drawing_leaves_matplotlib_as_it_was(run, column) -> None:
    run.add(column())
    before = dict(mpl.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for drawn in figures_of(run.path, names=["test-loss", "trade-off"]):
            _render(drawn.figure)
    assert dict(mpl.rcParams) == before


def test_the_columns_with_figures_of_their_own_show_every_value(run, column) -> None:
    for width in (16, 32, 64):
        for loss in ("ce", "mse"):
            for seed in (0, 1):
                name = f"{loss}-{width}-{seed}"
                run.add(column(column_id=name, width=width, loss=loss, seed=seed, etas=()))
    tables = run.tables(most=3)
    shown = [column["column_id"] for column in tables.shown]
    assert shown == ["ce-16-0", "mse-32-0", "ce-64-0"]
    assert [len(family) for family in tables.shown_families] == [2, 2, 2]
    assert len(run.tables(most=8).shown) == 8
