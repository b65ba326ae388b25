"""A sweep whose rates refine themselves, from its file to its tables; interrupted and resumed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from support.in_process import rows_of, run_of
from support.in_process import settled as eos

from orchestrator.ledger import Ledger
from orchestrator.plan.rounds import refinement, valley_over_seeds
from orchestrator.run_directory import sweep_of

TEXT = """
name: refined
problem: {dataset: digits, n_train: 60, width: 8, depth: 1, activation: tanh}
eta:
  values: [0.5, 1.5, 3.0, 6.0, 12.0]
  refine: {kink: null, divergence: 0.1, valley: 0.3, most: 12}
stop: {epsilon: [0.3], max_steps: 300}
measure: {trajectory_every: 50}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_of(tmp_path_factory.mktemp("refined"), TEXT)


def rates(run: Path) -> list[float]:
    rows = rows_of(run, condition="kind = 'gd'")
    assert {row["eta_unit"] for row in rows} == {"eta_c"}
    return sorted(row["eta_multiple"] for row in rows)


def test_the_run_goes_on_until_it_is_as_precise_as_was_asked_for(run: Path) -> None:
    state = Ledger(run).read(sweep_of(run).columns)
    assert state.complete.all()
    found = refinement(state, 0)
    assert found is not None
    assert found.divergence.met
    assert math.log(found.divergence.high / found.divergence.low) <= 0.1
    assert 0 < len(state.plans[0].refined) <= 12
    assert set(state.plans[0].refined) <= set(rates(run))
    assert "further rates; divergence from" in eos("status", str(run))
    (column,) = json.loads(eos("status", str(run), "--json"))["columns"]
    assert column["refined"].startswith(f"{len(state.plans[0].refined)} of at most 12")
    assert column["to_do"] == 0


def test_trials_that_are_lost_are_asked_for_again_and_no_others(run: Path, tmp_path: Path) -> None:
    """Without the rows of half of its trials, a run directory comes to the same rates."""
    other = run_of(tmp_path, TEXT)
    assert rates(other) == rates(run)
    parts = sorted((other / "trials").glob("*.parquet"))
    for path in parts[::2]:
        path.unlink()
    eos("run", str(other / "sweep.yaml"), "--run-dir", str(other))
    assert rates(other) == rates(run)


def test_the_kept_file_asks_for_the_same(run: Path) -> None:
    assert sweep_of(run).columns[0].refine is not None
    before = sorted(path.name for path in (run / "trials").iterdir())
    eos("run", str(run / "sweep.yaml"), "--run-dir", str(run))
    assert sorted(path.name for path in (run / "trials").iterdir()) == before


def test_the_plan_says_how_many_rates_may_follow(tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(TEXT)
    said = eos("plan", str(tmp_path / "sweep.yaml"))
    assert "6 trials: 0 settled, 6 to do, and at most 12 that may follow by eta.refine" in said


def test_the_seeds_of_a_problem_look_for_their_common_valley(tmp_path: Path) -> None:
    text = TEXT.replace("activation: tanh}", "activation: tanh, seed: [0, 1]}")
    run = run_of(tmp_path, text.replace("divergence: 0.1", "divergence: null"))
    state = Ledger(run).read(sweep_of(run).columns)
    together = valley_over_seeds(state, 0)
    assert together is not None
    assert together.following == ()
    assert together.valley.met or together.valley.reason
    each = [set(plan.refined) for plan in state.plans]
    assert each[0] & each[1]
    rows = rows_of(run, condition="kind = 'gd'")
    asked = {(row["seed"], row["eta_multiple"]) for row in rows}
    assert {(seed, rate) for seed, rates in enumerate(each) for rate in rates} <= asked
    assert eos("status", str(run)).count("; over 2 seeds ") == 2
    victim = next(iter(sorted((run / "trials").glob("*.parquet"))[-1:]))
    victim.unlink()
    eos("resume", str(run))
    again = Ledger(run).read(sweep_of(run).columns)
    assert [set(plan.refined) for plan in again.plans] == each
