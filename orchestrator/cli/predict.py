"""``eos predict``: the best learning rate of a new problem, for a share of what its grid costs."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.analysis.recommendation import (
    Basis,
    Recommendation,
    recommendations,
    rows_with_flows,
)
from orchestrator.cli.errors import UserError
from orchestrator.cli.execution import status_of, try_rates
from orchestrator.cli.options import (
    Config,
    Json,
    Overrides,
    RunOption,
    default_run,
    load_checked,
)
from orchestrator.cli.output import command, print_json, print_table
from orchestrator.cli.results import MOST_COLUMNS, print_column
from orchestrator.engine import RunOutcome
from orchestrator.engine.probing import Probing
from orchestrator.plan.probing import DEFAULT_SHARE, Spending
from orchestrator.run_directory import PROBES
from orchestrator.store import Store
from orchestrator.sweep.labels import column_labels

Row = Mapping[str, Any]

NAMES: dict[Basis, str] = {
    "probes": "the best rate that was tried",
    "largest_stable": "the largest rate that came to ε",
    "twice_eta_c": "2 η_c",
    "eta_c": "η_c",
}
"""What the bases of recommendations are called."""


def predict(
    context: typer.Context,
    config: Config,
    overrides: Overrides = None,
    spend: Annotated[
        float,
        typer.Option(
            metavar="SHARE", help="Of what the grid would cost: how much may be spent, from 0 to 1."
        ),
    ] = DEFAULT_SHARE,
    run_dir: RunOption = None,
    json: Json = False,
) -> None:
    """Recommend a learning rate for a share of the cost of a sweep.

    The flow gives η_c; then come a few rates of the grid, measured at the thresholds alone. Run it
    again with a larger share to go on. All is kept in RUN/predict, and figures of RUN show it.

    Example: eos predict configs/quickstart.yaml --spend 0.1
    """
    if not 0 < spend <= 1:
        raise UserError(f"--spend is {spend:g}; it must be above 0 and at most 1")
    sweep = load_checked(config, overrides)
    run = run_dir or default_run(sweep)
    probing = Probing(run / PROBES, sweep, spend)
    outcome = try_rates(run, sweep, probing, debug=bool(context.obj))
    found = _Found.of(probing)
    if json:
        print_json({"run": str(run), **outcome.content, **found.content})
    else:
        _print(run, config, probing, outcome, found)
    raise typer.Exit(status_of(outcome))


COMMANDS = {"predict": predict}


@dataclass(frozen=True)
class _Found:
    """What was found of each column of which something has settled, by its column_id."""

    rows: Mapping[str, Sequence[Row]]
    recommended: Mapping[str, Sequence[Recommendation]]
    spent: Mapping[str, Spending]
    blocked: Mapping[str, str]

    @classmethod
    def of(cls, probing: Probing) -> _Found:
        """What the tables say."""
        every = rows_with_flows(Store(probing.run).rows("trials"))
        names = [c.column_id for c in probing.columns if c.column_id in every]
        rows = {name: every[name] for name in names}
        spent, blocked = probing.until_now()
        return cls(
            rows=rows,
            recommended={name: recommendations(its) for name, its in rows.items()},
            spent=spent,
            blocked=blocked,
        )

    @property
    def content(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        places = [
            {
                "column_id": one.column_id,
                "epsilon": one.epsilon,
                "eta_c": one.eta_c,
                "eta": one.eta,
                "basis": one.basis,
                "evidence": None if one.evidence is None else dataclasses.asdict(one.evidence),
                "tried": [dict(row) for row in one.stable],
                "beyond": list(one.beyond),
            }
            for its in self.recommended.values()
            for one in its
        ]
        spent = {
            name: {**dataclasses.asdict(its), "share": its.share}
            for name, its in self.spent.items()
        }
        return {"recommended": places, "spent": spent}


def _print(run: Path, config: Path, probing: Probing, outcome: RunOutcome, found: _Found) -> None:
    labels = column_labels(probing.columns)
    columns = [column for column in probing.columns if column.column_id in found.rows]
    for column in columns[:MOST_COLUMNS]:
        print_column(column, labels[column.column_id], found.rows[column.column_id])
    places = [one for column in columns for one in found.recommended[column.column_id]]
    lines = [_line(one, labels, found) for one in places]
    names = [name for name in (lines[0] if lines else ()) if name != "column" or len(columns) > 1]
    print_table(lines, names, title="Recommended learning rates")
    for text in dict.fromkeys(map(_reliability, places)):
        print(text)
    for column_id, reason in found.blocked.items():
        print(f"column {column_id}: {reason}")
    if left := len(probing.sweep.columns) - len(probing.columns):
        print(f"{left} columns are not of plain GD that begins at θ0: nothing is predicted of them")
    if outcome.settled and len(columns) <= MOST_COLUMNS:
        # Matplotlib takes a second to import.
        from orchestrator.report import draw_figures

        drawn = draw_figures(probing.run, names=["transition"], formats=["png"], probes=probing.run)
        print("\n".join(f"picture  {path}" for path in drawn))
    print(f"tables   {shlex.quote(f'{probing.run}/trials')}")
    if outcome.interrupted or outcome.halted:
        print("stopped before its end; the same command goes on")
    elif outcome.failed:
        print(f"see what failed with\n  {command('why', probing.run)}")
    options = () if run == default_run(probing.sweep) else ("--run-dir", run)
    print("next\n  " + command("run", config, *options))


def _line(one: Recommendation, labels: Mapping[str, str], found: _Found) -> dict[str, Any]:
    best, spent = one.best or {}, found.spent.get(one.column_id)
    return {
        "column": labels[one.column_id],
        "ε": one.epsilon,
        "η_c = 2/s_gf": one.eta_c,
        "η": one.eta,
        "η/η_c": one.eta / one.eta_c if one.eta and one.eta_c else None,
        "S": best.get("sharpness"),
        "ℓ1": best.get("l1_norm"),
        "test loss": best.get("test_loss"),
        "from": one.reason,
        "spent, of the grid": None if spent is None else f"{spent.share:.3f}",
    }


def _reliability(one: Recommendation) -> str:
    """What rates of one basis were worth elsewhere."""
    if one.eta is None:
        return "without an η_c that is below all rates at which GD fails, nothing is recommended"
    tried = f" ({one.rates} tried)" if one.basis in ("probes", "largest_stable") else ""
    which = f"{NAMES[one.basis]}{tried}, loss {one.loss}"
    if (its := one.evidence) is None:
        return f"{which}: how good such rates are was not measured"
    beyond = f"; at {its.beyond} GD did not come to ε" if its.beyond else ""
    return (
        f"{which}: at {its.n} places with small networks (docs/predicting.md), the test loss was "
        f"{_percent(its.regret_median)} above the best one in the median, and at most "
        f"{_percent(its.regret_high)} in nine of ten{beyond}"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
