"""What is read for figures: each part once, newest attempts, and only what can be drawn."""

from __future__ import annotations

import math

import numpy as np

from orchestrator.report import tables as module
from orchestrator.report.figures import FIGURES
from orchestrator.report.tables import families, groups, values, varying


def test_columns_come_in_the_order_of_their_problems_with_the_unknown_first(run, column) -> None:
    for width in (128, 32, None):
        run.add(column(column_id=f"w{width}", width=width))
    assert [one["column_id"] for one in run.tables().columns] == ["wNone", "w32", "w128"]


def test_trials_are_read_once_for_all_figures(run, column, monkeypatch) -> None:
    for seed in range(3):
        run.add(column(column_id=f"s{seed}", seed=seed))
    tables = run.tables()
    asked: list[str] = []
    query = module.query
    monkeypatch.setattr(module, "query", lambda run, sql: asked.append(sql) or query(run, sql))
    tables.read(tables.columns)
    rows = [tables.trials(one) for one in tables.columns]
    assert [len(its) for its in rows] == [12, 12, 12]
    assert len(asked) == 2  # the columns, and their trials


def test_the_newest_attempt_counts(run, column) -> None:
    rows = column(etas=(0.1,), epsilons=(0.1,), flow=False)
    run.add(rows)
    run.add([{**rows[0], "attempt": 2, "sharpness": 7.0}])
    tables = run.tables()
    assert [row["sharpness"] for row in tables.trials(tables.columns[0])] == [7.0]


def test_what_has_no_place_in_a_figure_is_not_read(run, column) -> None:
    for number, wrong in enumerate((math.nan, -math.inf, 0.0, -1.0, None)):
        run.add(column(column_id=f"c{number}", etas=(0.05,), epsilons=(0.1,), eta_c=wrong))
        run.add(
            [
                {**row, "eta": wrong, "trial_id": f"{number}-wrong"}
                for row in column(column_id=f"c{number}", etas=(1.0,), epsilons=(0.1,), flow=False)
            ]
        )
    tables = run.tables()
    for one in tables.columns:
        rows = tables.trials(one)
        assert sorted(row["eta"] or 0 for row in rows) == [0, 0.05]
        assert {row["eta_c"] for row in rows} == {None}


def test_numbers_that_are_none_spoil_no_figure(run, column) -> None:
    for number, wrong in enumerate((math.nan, math.inf, -math.inf, None)):
        spoiled = column(column_id=f"c{number}", width=16 * (1 + number))
        for row in spoiled[::2]:
            row |= {"sharpness": wrong, "l1_norm": wrong, "test_loss": wrong, "s_gf": wrong}
        run.add(spoiled)
    drawn = []
    for figure in FIGURES.values():
        drawn += list(figure.draw(run.tables()))
    assert {one.name.rpartition("-")[0] for one in drawn} >= {"transition", "test-loss", "widths"}
    for one in drawn:
        one.figure.draw_without_rendering()


def test_trajectories_come_in_the_order_of_steps(run, column) -> None:
    for trial in ("a'b", "c"):
        steps = [{"trial_id": trial, "column_id": "x", "step": step} for step in (2, 0, 1)]
        run.add([{**one, "time": 10.0 * one["step"]} for one in steps], "trajectories")
    found = run.tables().trajectories(["c", "gone", "a'b"])
    assert sorted(found) == ["a'b", "c"]
    for trajectory in found.values():
        assert trajectory.time.tolist() == [0, 10, 20]
        assert np.isnan(trajectory.sharpness).all()
    assert run.tables().trajectories([]) == {}


def test_groups_agree_in_all_that_is_not_free() -> None:
    fixed = {"base_width": None, "normalization": "x", "subset": "first", "dtype": "float32"}
    problem = {"dataset": "digits", "n_train": 9, "architecture": "fcn", "depth": 1, "loss": "mse"}
    problem |= {
        "activation": "tanh",
        "parameterization": "mup",
        "init_scale": 1.0,
        "weight_decay": None,
        "optimizer": "gd",
        "momentum": None,
        "beta2": None,
        "damping": None,
        "start": None,
    }
    columns = [
        {"column_id": f"{width}-{seed}", "width": width, "seed": seed, **problem, **fixed}
        for width in (16, 32)
        for seed in (0, 1)
    ]
    assert [[one["column_id"] for one in family] for family in families(columns)] == [
        ["16-0", "16-1"],
        ["32-0", "32-1"],
    ]
    assert len(groups(columns, {"seed", "width"})) == 1
    assert varying(columns) == ["width"]
    assert values([*columns, {"width": None}], "width") == [16, 32, None]
