"""Every example of SQL runs on the tables of a sweep; those with a twin in Python equal it."""

import math

import pytest

from orchestrator.analysis import analyze
from orchestrator.store import Example, create, examples, query, write_part

PROBLEM = {
    "dataset": "mnist-mini", "n_train": 100, "architecture": "fcn", "depth": 2,
    "activation": "tanh", "loss": "mse", "parameterization": "standard", "init_scale": 1.0,
    "weight_decay": None,
    "dtype": "float32", "subset": "first", "normalization": "scalar",
}  # fmt: skip
EPSILONS = (0.1, 0.02)
GRID = (0.3, 0.5, 0.8, 1.2, 1.8, 2.7, 4.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Four widths and two seeds whose sharpness is flat, then 2/η; test loss has its best at 1.8.

    s_gf grows with the width to the power ½; the fitted η_c is that of the data, 5 % above.
    """
    path = tmp_path_factory.mktemp("examples") / "run"
    create(path)
    trials, recorded, attempts = [], [], []
    for width in (16, 32, 64, 128):
        for seed in (0, 1):
            column = f"{width:08d}{seed:08d}"
            eta_c = 0.4 / math.sqrt(width) * (1 + 0.05 * seed)
            key = {**PROBLEM, "column_id": column, "width": width, "seed": seed, "attempt": 1}
            key |= {"status": "reached", "wall_s": 1.5, "steps": 40, "gradients": 50, "hvps": 20}
            key |= {"sharpness_converged": True, "sharpness_residual": 1e-4}
            for number, ratio in enumerate((None, *GRID)):
                trial = f"{width:04d}{seed}{number:011d}"
                eta = None if ratio is None else ratio * eta_c
                sharpness = 2 / max(1.05 * eta_c, eta or 0)
                measured = {
                    "trial_id": trial,
                    "kind": "flow" if eta is None else "gd",
                    "eta": eta,
                    "eta_unit": None if eta is None else "eta_c",
                    "eta_multiple": ratio,
                    "eta_over_eta_c": None if eta is None else eta / eta_c,
                    "eta_c": eta_c,
                    "s_gf": 2 / eta_c,
                    "sharpness": sharpness,
                    "lambda_max": sharpness,
                    "lambda_min": -0.1,
                    "l1_norm": 50 + 10 * max(0.0, (ratio or 0) - 1),
                    "test_loss": 0.2 + 0.1 * abs(math.log((ratio or 0.3) / 1.8)),
                }
                trials += [{**key, **measured, "epsilon": epsilon} for epsilon in EPSILONS]
                recorded += [
                    {"trial_id": trial, "column_id": column, "step": step, "time": 0.1 * step,
                     "sharpness": sharpness, "train_loss": 1 / (1 + step), "l1_norm": 50.0,
                     "attempt": 1}
                    for step in (0, 20, 40)
                ]  # fmt: skip
    trials.append({**trials[-1], "trial_id": "diverged", "status": "diverged", "sharpness": None})
    attempts.append({"trial_id": "lost", "attempt": 1, "outcome": "failed"})
    for table, rows in (("trials", trials), ("trajectories", recorded), ("attempts", attempts)):
        write_part(path, table, "all", rows)
    analyze(path)
    return path


def answer(run, name: str) -> list[dict[str, object]]:
    (wanted,) = [one for one in examples() if one.name == name]
    return query(run, wanted.sql).to_pylist()


@pytest.mark.parametrize("one", examples(), ids=lambda one: one.name)
def test_every_example_runs_and_finds_something(run, one: Example) -> None:
    found = query(run, one.sql)
    assert found.num_rows > 0
    assert one.about.endswith(".")
    assert "--" not in one.about


def test_the_line_of_the_rates_is_that_of_the_analysis(run) -> None:
    (found,) = answer(run, "agreement")
    (table,) = query(run, "SELECT * FROM agreement WHERE scope_field = 'all'").to_pylist()
    for name in ("n", "slope", "intercept", "r2", "ratio_median"):
        assert found[name] == pytest.approx(table[name])
    assert found["ratio_least"] == pytest.approx(table["ratio_low"])
    assert found["ratio_largest"] == pytest.approx(table["ratio_high"])
    assert found["slope"] == pytest.approx(1, rel=1e-3)
    assert found["ratio_median"] == pytest.approx(1.05, rel=1e-3)


def test_slopes_and_ratios_are_those_of_the_analysis(run) -> None:
    trends = {
        (row["group_id"], row["epsilon"]): row
        for row in query(run, "SELECT * FROM trends WHERE field = 'width'").to_pylist()
    }
    for name in ("slopes", "widths"):
        rows = answer(run, name)
        assert len(rows) == len(trends) == 4
        for row in rows:
            twin = trends[row["group_id"], row["epsilon"]]
            assert row["s_gf_ratio"] == pytest.approx(twin["s_gf_ratio"])
            assert row.get("s_gf_slope", 0.5) == pytest.approx(0.5)
            assert twin["s_gf_slope"] == pytest.approx(0.5)


def test_widths_over_seeds_have_their_geometric_mean(run) -> None:
    first = answer(run, "widths_over_seeds")[0]
    assert (first["width"], first["seeds"]) == (16, 2)
    assert first["s_gf"] == pytest.approx(20 / math.sqrt(1.05))


def test_averages_over_seeds_have_every_seed_at_every_multiple_that_was_asked_for(run) -> None:
    rows = [row for row in answer(run, "over_seeds") if row["width"] == 32]
    assert [(row["epsilon"], row["eta_multiple"]) for row in rows] == [
        (epsilon, ratio) for epsilon in sorted(EPSILONS) for ratio in GRID
    ]
    assert {row["seeds"] for row in rows} == {2}
    assert rows[-1]["edge"] == pytest.approx(1)
    assert rows[-1]["l1_norm"] == pytest.approx(50 + 10 * 3)
    by_quotient = query(run, "SELECT count(DISTINCT eta_over_eta_c) AS n FROM trials").to_pylist()
    assert by_quotient[0]["n"] > len(GRID)  # rounding would have split them


def test_the_valley_is_where_the_test_loss_is_least(run) -> None:
    rows = answer(run, "valley")
    assert [row["eta_best_over_eta_c"] for row in rows] == pytest.approx([1.8] * len(rows))
    lower_end = 0.2 + 0.1 * math.log(4.0 / 1.8)
    assert rows[0]["u_depth"] == pytest.approx(1 - 0.2 / lower_end)
    assert rows[0]["seeds"] == 2
    assert {(row["u_shaped"], row["undecided"]) for row in rows} == {(True, None)}


def test_what_was_left_out_is_counted_with_its_reason(run) -> None:
    counted = {row["why"]: row["n"] for row in answer(run, "excluded")}
    assert counted == {"diverged": 1, "attempt failed": 1}


def test_the_cost_counts_every_trial_once(run) -> None:
    rows = answer(run, "cost")
    assert [row["trials"] for row in rows] == [9, *[8] * 7]
    assert [row["hours"] for row in rows] == pytest.approx([9 * 1.5 / 3600, *[8 * 1.5 / 3600] * 7])


def test_at_the_edge_the_trajectories_are_at_one(run) -> None:
    rows = answer(run, "around_the_edge")
    assert [row["step"] for row in rows] == [0, 20, 40] * 2
    assert rows[-1]["eta_over_eta_c"] == pytest.approx(1.2)
    assert rows[-1]["ratio"] == pytest.approx(1)
