"""A run that tries a few rates of each column: it asks for further ones as the results come in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.ledger import Ledger
from orchestrator.plan import ColumnPlan, ColumnState, RunState, State
from orchestrator.plan.probing import (
    Probe,
    Spending,
    can_be_probed,
    dense_columns,
    grid_cost,
    next_affordable,
    sparse,
    stays,
    with_rates,
)
from orchestrator.store import Store
from orchestrator.sweep import Column, Sweep, SweepError


class Probing:
    """The columns of a sweep, each with the rates that are tried of it so far.

    Args:
        run: the run directory of the probes.
        sweep: the sweep, as it is to be run itself.
        share: how much may be spent of what the GD trials of each column would take.

    Attributes:
        sweep: the sparse sweep, of which a few rates are tried.
        columns: those of its columns that are probed, with all their rates.
        dense: of each column that is probed, by its column_id, the one that it stands for.
        share: as above.

    Raises:
        SweepError: no column can be probed.
    """

    def __init__(self, run: Path, sweep: Sweep, share: float) -> None:
        self.run, self.share = run, share
        self.sweep = sparse(sweep)
        known = dense_columns(sweep.columns)
        self.dense = {
            column.column_id: known[column.problem, column.protocol]
            for column in self.sweep.columns
            if can_be_probed(column)
        }
        if not self.dense:
            raise SweepError(
                "the sweep has no column of plain GD that begins at θ0; it must have one, for "
                "which a rate can be predicted"
            )
        self.columns = [c for c in self.sweep.columns if c.column_id in self.dense]
        self._asked: tuple[Column, ...] | None = None

    def grown(self) -> Sequence[Column] | None:
        """The columns with the rates to try by now; None where they are those of the last call."""
        found = _found(self.run)
        asked = tuple(self._with_next(state, found) for state in self._states())
        if asked == self._asked:
            return None
        self._asked = asked
        return asked

    def until_now(self) -> tuple[dict[str, Spending], dict[str, str]]:
        """By column_id, what each column took whose flow has settled, and why no rate can be tried
        of some.
        """
        found, spent, blocked = _found(self.run), dict[str, Spending](), dict[str, str]()
        for state in self._states():
            if state.plan.flow is not None:
                probes = _probes(state.plan, found)
                spent[state.column_id] = self._spending(state.plan, found, probes)
            if state.blocked:
                blocked[state.column_id] = state.blocked
        return spent, blocked

    def _states(self) -> RunState:
        return Ledger(self.run).read(self.columns)

    def _spending(
        self, plan: ColumnPlan, found: Mapping[str, _Found], probes: Sequence[Probe]
    ) -> Spending:
        flow, *others = (found.get(trial.trial_id, _NOTHING).cost for trial in plan.trials)
        grid = grid_cost(self.dense[plan.column.column_id], plan, probes)
        return Spending(grid=grid, flow=flow, probes=sum(others))

    def _with_next(self, state: ColumnState, found: Mapping[str, _Found]) -> Column:
        plan = state.plan
        if plan.critical_rate is None:
            return with_rates(state.column, plan, ())
        probes = _probes(plan, found)
        rates = [probe.eta for probe in probes]
        if not (state.states == State.FAILED).any():
            spending = self._spending(plan, found, probes)
            following = next_affordable(plan, probes, spending, self.share)
            rates += [] if following is None else [following]
        return with_rates(state.column, plan, rates)


@dataclass(frozen=True)
class _Found:
    """What a settled trial found at its smallest ε, and the gradients and products that it took."""

    cost: float = 0.0
    reached: bool = False
    test_loss: float = math.nan
    diverged: bool = False


_NOTHING = _Found()


def _found(run: Path) -> dict[str, _Found]:
    columns = ["trial_id", "epsilon", "status", "eta", "sharpness", "test_loss"]
    columns += ["gradients", "hvps"]
    rows = Store(run).table("trials", columns).sort_by([("epsilon", "descending")])
    return {
        row["trial_id"]: _Found(
            cost=float(row["gradients"] + row["hvps"]),
            reached=row["status"] == "reached" and stays(row["eta"] or 0.0, row["sharpness"]),
            test_loss=math.nan if row["test_loss"] is None else row["test_loss"],
            diverged=row["status"] == "diverged",
        )
        for row in rows.to_pylist()
    }


def _probes(plan: ColumnPlan, found: Mapping[str, _Found]) -> list[Probe]:
    """The rates of a column that were tried."""
    return [
        Probe(eta, its.reached, its.test_loss, its.diverged)
        for eta, trial in zip(plan.learning_rates, plan.trials[1:], strict=True)
        if (its := found.get(trial.trial_id)) is not None
    ]
