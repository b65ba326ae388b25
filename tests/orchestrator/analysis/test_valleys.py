"""The statement over seeds about test loss, from sweeps whose answer is known."""

import numpy as np
import pytest
from support.trial_rows import TrialRow

from orchestrator.analysis import analyze

RATIOS = (0.3, 0.5, 0.8, 1.2, 1.8, 2.7, 4.0)
ETA_C = 0.1


def add(run, seed: int, losses, eta_c: float = ETA_C, flow: bool = True, **problem) -> None:
    """A column whose GD has these test losses at RATIOS in units of its own η_c."""
    column = f"seed-{seed}-" + "-".join(map(str, problem.values()))
    key = {"seed": seed, "dataset": "digits", **problem}
    status = "reached" if flow else "max_steps"
    known = TrialRow(status=status, s_gf=2 / eta_c, sharpness=2 / eta_c)
    run.trial(column, "flow", {0.1: known}, **key)
    for ratio, loss in zip(RATIOS, losses, strict=False):
        eta = ratio * eta_c
        gd = TrialRow(
            status="reached",
            eta=eta,
            sharpness=2 / max(eta, eta_c),
            sharpness_converged=True,
            test_loss=loss,
        )
        run.trial(column, "gd", {0.1: gd}, **key)


def bowl(best: float = 1.2, depth: float = 0.1) -> np.ndarray:
    return 1 - depth * np.exp(-(np.log(np.array(RATIOS) / best) ** 2))


def valley(run) -> dict[str, object]:
    (row,) = analyze(run.path).tables["valleys"].to_pylist()
    return row


def test_equal_valleys_are_one(run) -> None:
    """Their rates are equal in units of η_c alone."""
    for seed, eta_c in enumerate((0.1, 0.17, 0.06)):
        add(run, seed, bowl(), eta_c)
    row = valley(run)
    assert (row["u_shaped"], row["n_seeds"], row["n_used"], row["undecided"]) == (True, 3, 3, None)
    assert row["eta_best_over_eta_c"] == pytest.approx(1.2)
    ends = bowl()[[0, -1]]
    assert row["u_depth"] == pytest.approx(1 - 0.9 / ends.min())
    assert row["u_spread"] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("depth", [(0.10, 0.14, 0.12), (0.03, 0.04, 0.035)])
def test_the_spread_is_the_standard_deviation_of_the_depths(run, depth) -> None:
    for seed, one in enumerate(depth):
        add(run, seed, bowl(depth=one))
    depths = [1 - min(bowl(depth=one)) / min(bowl(depth=one)[[0, -1]]) for one in depth]
    row = valley(run)
    assert row["u_depth"] == pytest.approx(np.mean(depths))
    assert row["u_spread"] == pytest.approx(np.std(depths, ddof=1))
    assert row["u_shaped"] is True


@pytest.mark.parametrize(
    "losses",
    [np.linspace(1, 0.5, 7), np.linspace(0.5, 1, 7), np.ones(7), bowl(depth=0.009)],
    ids=["falling", "rising", "level", "shallow"],
)
def test_without_a_valley_there_is_none(run, losses) -> None:
    for seed in range(3):
        add(run, seed, losses)
    assert valley(run)["u_shaped"] is False


def test_valleys_at_different_rates_are_none_of_the_problem(run) -> None:
    """Each is as deep as can be, but not where the others look for it."""
    for seed, place in enumerate((1, 3, 5)):
        losses = np.ones(7)
        losses[place] = 0.5
        add(run, seed, losses)
    row = valley(run)
    assert row["u_shaped"] is None
    assert (
        row["undecided"]
        == "valley of test loss: a depth of 17 % that scatters by 29 % over 3 seeds"
    )
    phases = analyze(run.path).phases
    assert {phase.u_shaped for phase in phases} == {None}


def test_two_seeds_decide_where_they_scatter_little(run) -> None:
    """With one degree of freedom the interval is 4.5 standard deviations wide to each side."""
    for width, depths in enumerate([(0.1, 0.101), (0.1, 0.14)]):
        for seed, depth in enumerate(depths):
            add(run, seed, bowl(depth=depth), width=width)
    found = {
        row["width"]: row["u_shaped"] for row in analyze(run.path).tables["valleys"].to_pylist()
    }
    assert found == {0: True, 1: None}


def test_a_seed_without_a_critical_rate_does_not_change_the_units_of_the_others(run) -> None:
    for seed, eta_c in enumerate((0.1, 0.3, 0.9)):
        add(run, seed, bowl(), eta_c)
    expected = valley(run)
    add(run, 3, bowl(), 0.1, flow=False)
    row = valley(run)
    assert (row["n_seeds"], row["n_used"]) == (4, 3)
    assert (row["u_shaped"], row["u_depth"]) == (True, pytest.approx(expected["u_depth"]))


def test_noise_alone_is_seldom_a_valley(run) -> None:
    """The least of seven is interior in five of seven; the others do not confirm it."""
    random = np.random.default_rng(0)
    with run.batch():
        for width in range(40):
            for seed in range(5):
                add(run, seed, 1 + 0.05 * random.standard_normal(7), width=width)
    rows = analyze(run.path).tables["valleys"].to_pylist()
    assert len(rows) == 40
    assert sum(row["u_shaped"] is True for row in rows) <= 2


def test_a_fall_to_a_plateau_is_seldom_a_valley_of_two_seeds(run) -> None:
    random = np.random.default_rng(1)
    plateau = np.fmax(1.0, 1.6 - 0.2 * np.arange(7))
    with run.batch():
        for width in range(60):
            for seed in range(2):
                add(run, seed, plateau + 0.05 * random.standard_normal(7), width=width)
    rows = analyze(run.path).tables["valleys"].to_pylist()
    assert sum(row["u_shaped"] is True for row in rows) <= 6


def test_one_seed_has_no_spread(run) -> None:
    add(run, 0, bowl())
    row = valley(run)
    assert (row["u_shaped"], row["u_spread"], row["n_used"]) == (None, None, 1)
    assert row["undecided"] == "valley of test loss: one seed has no spread, 2 are needed"
    (phase,) = analyze(run.path).phases
    assert phase.u_shaped is None
    assert phase.u_depth == pytest.approx(row["u_depth"])
    assert row["undecided"] in phase.undecided


def test_seeds_with_too_few_rates_are_not_used(run) -> None:
    add(run, 0, bowl())
    add(run, 1, bowl()[:3])
    row = valley(run)
    assert (row["u_shaped"], row["n_seeds"], row["n_used"]) == (None, 2, 1)
    assert "1 of 2 seeds has 4 rates with a test loss, 2 seeds are needed" in row["undecided"]


def test_two_columns_of_one_seed_are_one_seed(run) -> None:
    """As under two protocols; the one with more rates counts."""
    add(run, 0, bowl())
    for number, (ratio, loss) in enumerate(zip(RATIOS[:5], bowl(), strict=False)):
        eta = ratio * ETA_C
        gd = TrialRow(
            status="reached", eta=eta, sharpness=2 / max(eta, ETA_C), sharpness_converged=True,
            test_loss=loss,
        )  # fmt: skip
        key = {"seed": 0, "dataset": "digits", "trial_id": f"other{number}"}
        run.trial("other", "gd", {0.1: gd}, **key)
    row = valley(run)
    assert (row["n_seeds"], row["n_used"], row["u_shaped"]) == (1, 1, None)


def test_every_column_says_what_its_problem_says(run) -> None:
    for width, depth in ((16, 0.2), (32, 0.0)):
        for seed in range(2):
            add(run, seed, bowl(depth=depth), width=width)
    tables = analyze(run.path).tables
    said = {row["width"]: row["u_shaped"] for row in tables["valleys"].to_pylist()}
    assert said == {16: True, 32: False}
    width = {row["column_id"]: row["width"] for row in tables["columns"].to_pylist()}
    for row in tables["phase"].to_pylist():
        assert row["u_shaped"] == said[width[row["column_id"]]]


def test_no_valley_is_said_only_where_rates_go_beyond_eta_c(run) -> None:
    """Test loss that still falls at 0.8 η_c, as while the sweep is at work."""
    for seed in range(3):
        add(run, seed, 1 - 0.1 * np.arange(4) + 1e-3 * seed)
    row = valley(run)
    assert (row["u_shaped"], row["n_used"]) == (None, 3)
    assert "the rates end at 1.2 η_c, 1.35 are needed" in row["undecided"]
    for seed in range(3, 6):
        add(run, seed, 1 - 0.1 * np.arange(7) + 1e-3 * seed, width=128)
    rows = analyze(run.path).tables["valleys"].to_pylist()
    assert [row["u_shaped"] for row in rows if row["width"] == 128] == [False]


def test_without_a_valley_the_end_that_decides_is_shown(run) -> None:
    """Far below the first end in all seeds, and level with the last one."""
    for seed, first in enumerate((1.2, 1.6, 2.0)):
        add(run, seed, np.r_[first, np.ones(6)])
    row = valley(run)
    assert row["u_shaped"] is False
    assert row["u_depth"] == pytest.approx(0, abs=1e-12)
