"""What the sections of the page state: problems, statements, failures and provenance of a run."""

from __future__ import annotations

import base64
import importlib.metadata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jobs.records import OFF_THE_EDGE
from jobs.spec import GD
from orchestrator.analysis.verdict import FAILS, HOLDS, MOSTLY_HOLDS, UNDECIDED
from orchestrator.report.figures.transition import transition_of
from orchestrator.report.labels import PROBLEM, field_name, in_one_line, shortened, title
from orchestrator.report.report_figure import as_bytes
from orchestrator.report.tables import Column, Tables, groups, values
from orchestrator.store import TRAINING_FIELDS, query

Rows = list[dict[str, Any]]

FIELDS = (*PROBLEM, "base_width", "normalization", "subset", "dtype")
"""The fields of a problem, in the order in which they are listed."""

MATTER = ("kink", "edge_above", "valley", "norm_rises", "flat_below", "norm_flat")
"""Statements, the most telling first: where S bends, what it is above, what that is good for."""

MOST_STATEMENTS = 3

_SHARED = """
settled AS MATERIALIZED (
    SELECT trial_id, kind, sweep, epsilon, eta, eta_over_eta_c, status, started_at,
           finished_at, wall_s, gradients, hvps, hostname, device, world_size, slurm_job_id,
           version, git_commit, git_dirty, torch_version
    FROM trials),
made AS MATERIALIZED (
    SELECT trial_id, any_value(kind) AS kind, min(started_at) AS started_at,
           max(finished_at) AS finished_at, max(wall_s) AS wall_s, max(gradients) AS gradients,
           max(hvps) AS hvps, any_value(hostname) AS hostname, any_value(device) AS device,
           any_value(world_size) AS world_size, any_value(slurm_job_id) AS slurm_job_id,
           any_value(version) AS version, any_value(git_commit) AS git_commit,
           any_value(git_dirty) AS git_dirty, any_value(torch_version) AS torch_version
    FROM settled GROUP BY trial_id),
tried AS MATERIALIZED (SELECT * FROM attempts)
"""
"""``settled`` are the rows of ``trials``, ``made`` has one for each trial with its totals."""

_QUESTIONS = {
    "sweeps": "SELECT DISTINCT sweep FROM settled WHERE sweep IS NOT NULL",
    "epsilons": "SELECT DISTINCT epsilon FROM settled WHERE epsilon IS NOT NULL",
    "rates": "SELECT count(DISTINCT trial_id) AS trials, "
    "count(DISTINCT trial_id) FILTER (kind = 'flow') AS flows, "
    "count(DISTINCT trial_id) FILTER (kind = 'gd') AS descents, "
    "min(eta) FILTER (isfinite(eta)) AS low, max(eta) FILTER (isfinite(eta)) AS high, "
    "min(eta_over_eta_c) FILTER (isfinite(eta_over_eta_c)) AS from_c, "
    "max(eta_over_eta_c) FILTER (isfinite(eta_over_eta_c)) AS to_c FROM settled",
    "outcomes": "SELECT kind, status, count(*) AS n FROM settled GROUP BY ALL",
    "causes": "SELECT outcome, failure_class, error, count(*) AS n, "
    "count(DISTINCT trial_id) AS trials, min(hostname) AS host, "
    "count(DISTINCT hostname) AS hosts FROM tried WHERE outcome IS DISTINCT FROM 'settled' "
    "GROUP BY outcome, failure_class, error",
    "without_result": "SELECT count(DISTINCT trial_id) AS trials FROM tried "
    "WHERE outcome IN ('failed', 'lost') "
    "AND trial_id NOT IN (SELECT trial_id FROM made WHERE trial_id IS NOT NULL)",
    "programs": "SELECT version, git_commit, git_dirty, torch_version, count(*) AS n FROM made "
    "GROUP BY version, git_commit, git_dirty, torch_version",
    "machines": "SELECT hostname, device, world_size, count(*) AS n, "
    "fsum(wall_s) / 3600 AS hours FROM made GROUP BY hostname, device, world_size",
    "work": "SELECT count(*) AS trials, strftime(min(started_at), '%Y-%m-%d %H:%M') AS started, "
    "strftime(max(finished_at), '%Y-%m-%d %H:%M') AS finished, fsum(wall_s) / 3600 AS hours, "
    "sum(gradients)::BIGINT AS gradients, sum(hvps)::BIGINT AS hvps, "
    "count(DISTINCT slurm_job_id) AS jobs FROM made",
}
"""SQL over ``settled``, ``made`` and ``tried``, answered in one reading of the files."""

_RULES = {
    "n_diverged": "Diverged: the loss was no number, or far above that of the start.",
    "n_short": "Stopped short of ε, at the largest number of steps.",
    "n_unmeasured": "The sharpness was not measured.",
    "n_unconverged": "The sharpness did not converge to the tolerance asked for.",
    "n_chance_crossing": "Chance crossing: sharper than the edge 2/η by so much that gradient "
    f"descent leaves every minimum there, as with S·η/2 above {OFF_THE_EDGE:g}.",
}
"""Why the analysis leaves a trial of GD out, by the column of ``phase`` that counts it."""

_SIGNS = {HOLDS: ("✓", "holds"), MOSTLY_HOLDS: ("✓", "mostly"), FAILS: ("✗", "fails")}
"""What shows a verdict beside the word: a sign, and a class of the style sheet."""

_TELLING = ("eta_c", "eta_c_fitted", "edge_ratio", "edge_exponent", "flat_spread", "l1_rises")
"""The numbers of ``phase`` that describe a transition."""

_MOST_VALUES = 12
"""Values of a field that are written out."""

_MOST_ROWS = 40
"""Rows of a table that are listed, the most frequent ones."""

_LEAST_PLACES = 3
"""Columns and thresholds from which on a candidate's record is shown."""

_LONGEST_ERROR = 600
"""Characters."""

_AUTHOR = "The eos-sweep maintainers"
"""As in the licence."""


def sections(tables: Tables) -> dict[str, Any]:
    """What the template shows: a value for each of its names.

    Raises:
        FileNotFoundError: there is no such run directory.
        StoreError: the run directory cannot be read.
    """
    found = _answers(tables.run)
    judged = statements(tables.analysed("findings"))
    counts = Counter[str]()
    for row in tables.phases.values():
        counts.update({name: row[name] or 0 for name in _RULES})
    return {
        "opening": opening(tables, judged["decided"]),
        "problems": _problems(tables.columns, found),
        "findings": judged,
        "growth": _growth(tables),
        "predictors": _predictors(tables),
        "failures": {
            "outcomes": found["outcomes"],
            "excluded": [(rule, counts[name]) for name, rule in _RULES.items()],
            "causes": [_printable(cause) for cause in found["causes"][:_MOST_ROWS]],
            "n_causes": len(found["causes"]),
            "n_lost": found["without_result"][0]["trials"],
        },
        "provenance": {
            "programs": found["programs"][:_MOST_ROWS],
            "machines": found["machines"][:_MOST_ROWS],
            "n_machines": len(found["machines"]),
            "work": found["work"][0],
        },
        "software": {"author": _AUTHOR, "address": _repository()},
    }


def _growth(tables: Tables) -> dict[str, Any]:
    """The growth of the norm, taken apart: of each column at its smallest ε, and over all.

    The ``share`` of the central flow is told of rates at which the norm grew by more than a
    hundredth; of others it is that of two small numbers.
    """
    titles = {one["column_id"]: in_one_line(title(one)) for one in tables.columns}
    rows = tables.analysed("growth")
    least = {
        column_id: min(row["epsilon"] for row in rows if row["column_id"] == column_id)
        for column_id in {row["column_id"] for row in rows}
    }
    at_least = [row for row in rows if row["epsilon"] == least[row["column_id"]]]
    shares = [row["central_share"] for row in at_least if row["growth"] > 0.01 * row["l1_flow"]]
    quartiles = np.quantile(shares, [0.25, 0.5, 0.75]).tolist() if shares else []
    return {
        "n": len(at_least),
        "n_shares": len(shares),
        "share": quartiles,
        "rows": [
            {**row, "title": titles.get(row["column_id"], row["column_id"])}
            for row in at_least[:_MOST_ROWS]
        ],
    }


def _predictors(tables: Tables) -> Rows:
    """How well each candidate predicts the best rate, where several places can be asked."""
    found = tables.analysed("predictors")
    asked = max((row["n"] + row["n_without"] for row in found), default=0)
    return found if asked >= _LEAST_PLACES else []


def _answers(run: Path) -> dict[str, Rows]:
    """The rows of each question: by a count ``n``, the largest first, then by their text."""
    asked = ", ".join(
        f"(SELECT list(question) FROM ({sql}) AS question) AS {name}"
        for name, sql in _QUESTIONS.items()
    )
    (found,) = query(run, f"WITH {_SHARED} SELECT {asked}").to_pylist()
    return {name: sorted(rows or [], key=_order) for name, rows in found.items()}


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    values = [value for name, value in row.items() if name != "n"]
    return (-row.get("n", 0), *((value is None, str(value)) for value in values))


def opening(tables: Tables, decided: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The transition of the column that is measured best, and the statements that matter most.

    ``picture`` is a data URI, ``words`` its alternative text; None where no trial of GD settled.
    """
    column_id = most_telling(tables.phases.values())
    column = next((c for c in tables.columns if c["column_id"] == column_id), None)
    if column is None:
        return None
    drawn = transition_of(tables, column)
    encoded = base64.b64encode(as_bytes(drawn, "svg")).decode()
    by_id = {one["statement_id"]: one for one in decided}
    return {
        "column": in_one_line(title(column)),
        "picture": f"data:image/svg+xml;base64,{encoded}",
        "words": drawn.alternative,
        "caption": drawn.caption,
        "statements": [by_id[name] for name in MATTER if name in by_id][:MOST_STATEMENTS],
    }


def most_telling(phases: Iterable[Mapping[str, Any]]) -> str | None:
    """The column whose transition is best known, at any threshold.

    The one with the most numbers that describe it; among equals the one with the most trials that
    count, then the narrowest interval of the fitted η_c, then the first by name.
    """

    def rank(row: Mapping[str, Any]) -> tuple[Any, ...]:
        low, high = row["eta_c_fitted_low"], row["eta_c_fitted_high"]
        width = high / low if low and high else float("inf")
        known = sum(row[name] is not None for name in _TELLING) + (row["transition"] is True)
        return -known, -row["n_included"], width, row["column_id"]

    best = min((row for row in phases if row["n_gd"]), key=rank, default=None)
    return None if best is None else best["column_id"]


def statements(findings: Iterable[Mapping[str, Any]]) -> dict[str, Rows]:
    """The rows of ``findings``, those that the sweep decides apart from those that it does not.

    Statements that nothing in the sweep is about are left out.
    """
    judged: dict[str, Rows] = {"decided": [], "undecided": []}
    for row in findings:
        if row["n_decided"] == row["n_undecided"] == 0:
            continue
        sign, style = _SIGNS.get(row["verdict"], ("?", UNDECIDED))
        shown = {"mark": sign, "style": style, "wanted": _wanted(row)}
        known = {name: row[name] or "" for name in ("statement_id", "statement", "numbers")}
        kind = "decided" if row["verdict"] in _SIGNS else "undecided"
        judged[kind].append({**known, "verdict": row["verdict"] or UNDECIDED, **shown})
    return judged


def _wanted(row: Mapping[str, Any]) -> str:
    """The bounds between which a number counts as right, as a clause."""
    low, high = row["wanted_low"], row["wanted_high"]
    if low is None and high is None:
        return ""
    if high is None:
        return f"right: above {low:g}"
    return f"right: up to {high:g}" if low is None else f"right: {low:g} to {high:g}"


def _problems(columns: Sequence[Column], found: Mapping[str, Rows]) -> dict[str, Any]:
    """What was run, in words: ``fixed`` fields have one value, ``axes`` several."""
    fields = {field_name(field): values(columns, field) for field in FIELDS}
    (rates,) = found["rates"]
    epsilons = sorted((row["epsilon"] for row in found["epsilons"]), reverse=True)
    return {
        "sweeps": _listed(row["sweep"] for row in found["sweeps"]),
        "n_trials": rates["trials"],
        "n_flows": rates["flows"],
        "fixed": [(name, shortened(its[0])) for name, its in fields.items() if _is_fixed(its)],
        "axes": [(name, _listed(its)) for name, its in fields.items() if len(its) > 1],
        "epsilons": _listed(epsilons),
        "rates": _rates(rates),
        "n_problems": len(groups(columns, TRAINING_FIELDS)),
        "starts": any(column["start"] for column in columns),
        "other_optimizers": any(column["optimizer"] != GD.name for column in columns),
    }


def _is_fixed(its_values: Sequence[Any]) -> bool:
    return len(its_values) == 1 and its_values[0] is not None


def _listed(found: Iterable[Any]) -> str:
    """Values one after the other, of many the first ones."""
    known = ["none" if value is None else shortened(value) for value in found]
    text = ", ".join(known[:_MOST_VALUES])
    return text if len(known) <= _MOST_VALUES else f"{text} and {len(known) - _MOST_VALUES} more"


def _rates(found: Mapping[str, Any]) -> str | None:
    """The learning rates of GD; None where no trial of GD has settled."""
    if found["low"] is None:
        return None
    trials = "trial" if found["descents"] == 1 else "trials"
    text = (
        f"{found['descents']:,} {trials} of gradient descent, η from {found['low']:.4g} to "
        f"{found['high']:.4g}"
    )
    if found["from_c"] is None:
        return text
    return f"{text}, that is {found['from_c']:.3g} to {found['to_c']:.3g} η_c"


def _printable(cause: Mapping[str, Any]) -> dict[str, Any]:
    """The cause of failed attempts with its error in at most some hundred characters."""
    text = "".join(c if c.isprintable() or c == "\n" else " " for c in cause["error"] or "")
    cut = text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]}…"
    return {**cause, "error": cut}


def _repository() -> str | None:
    """The address under ``project.urls`` of pyproject.toml, None where the metadata has none."""
    try:
        metadata = importlib.metadata.metadata("eos-sweep")
    except importlib.metadata.PackageNotFoundError:
        return None
    urls = (entry.partition(", ") for entry in metadata.get_all("Project-URL") or ())
    return next((url for name, _, url in urls if name == "Repository"), None)
