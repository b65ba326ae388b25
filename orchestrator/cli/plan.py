"""``eos plan``: the trials of a sweep, and what they will cost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jobs import datasets
from orchestrator import sweep as sweeps
from orchestrator.cli.options import (
    Cluster,
    Config,
    Json,
    Overrides,
    RunOption,
    checked,
    default_run,
)
from orchestrator.cli.output import command, duration, print_json, print_table, warn
from orchestrator.cli.status import of_older_version
from orchestrator.cluster import Allocation, here
from orchestrator.engine import check_directory, network_errors, timed_for
from orchestrator.engine.calibration import device_name
from orchestrator.engine.capacity import kept_bytes
from orchestrator.engine.devices import gpu_names
from orchestrator.engine.planned_devices import PlannedDevices
from orchestrator.ledger import Ledger
from orchestrator.ledger.gradient_seconds import read_gradient_seconds
from orchestrator.plan import Counts, Prediction, RunState, predict
from orchestrator.slurm.profile import Profile, load_profile
from orchestrator.sweep.grid import HOURS
from orchestrator.sweep.labels import column_labels

MOST_COLUMNS_SHOWN = 30

TABLES = 3
"""In which every settled trial has rows: ``trials``, ``trajectories`` and ``attempts``."""


def plan(
    config: Config,
    overrides: Overrides = None,
    run_dir: RunOption = None,
    cluster: Cluster = None,
    json: Json = False,
) -> None:
    """Show the trials of a sweep and what they will cost.

    With --cluster, on the nodes of that profile, by the speed of the CPUs and GPUs that it names.
    Runs nothing and writes nothing.

    Example: eos plan configs/quickstart.yaml problem.width=[64,128]
    """
    sweep = checked(sweeps.load(config, overrides or ()), unseen=True)
    run = run_dir or default_run(sweep)
    check_directory(run, sweep)
    devices, allocation = _devices(None if cluster is None else load_profile(cluster))
    columns = devices.columns(sweep.columns, allocation)
    state = Ledger(run).read(columns) if run.is_dir() else RunState.of(columns)
    unusable = network_errors(sweep.columns)
    refused = {column.column_id: str(error) for error, its in unusable for column in its}
    sound = np.array([column.column_id not in refused for column in sweep.columns])
    cost, timed = _predicted(run, state, sound, devices)
    rows = _planned(state, cost, refused)
    total = _numbers(state.total)
    further = sum(
        plan.column.refine.most - len(plan.refined) for plan in state.plans if plan.column.refine
    )
    gradients = float(cost.gradients.sum())
    hours = {unit: sum(row[unit] or 0.0 for row in rows) for unit in HOURS.values()}
    files = sum(row["files"] for row in rows)
    for error in dict.fromkeys(refused.values()):
        warn(error)
    not_predicted = ""
    if refused:
        not_predicted = (
            f"not predicted: {len(refused)} columns whose network cannot be made, which eos run "
            "refuses\n"
        )
    if json:
        print_json(
            {
                "run": str(run),
                "columns": rows,
                **total,
                "older": state.older,
                "gradients": gradients,
                **{
                    unit.lower().replace(" ", "_").replace("-", "_"): its
                    for unit, its in hours.items()
                },
                "files": files,
                "kept_bytes": sum(row["kept_bytes"] or 0 for row in rows),
                "prior": bool(cost.guess.any()),
                "timed": bool(cost.timed.all()),
            }
        )
        return
    used = [unit for unit in HOURS.values() if any(row[unit] is not None for row in rows)]
    keys = ["column", "trials", "settled", "failed", "to do", "gradients", *used]
    shown = [
        {**row, "gradients": None if row["gradients"] is None else f"{row['gradients']:.2g}"}
        for row in rows[:MOST_COLUMNS_SHOWN]
    ]
    print_table(shown, keys)
    if len(rows) > len(shown):
        print(f"… and {len(rows) - len(shown)} more columns")
    following = f", and at most {further} that may follow by eta.refine" if further else ""
    print(
        f"{len(rows)} columns, {total['trials']} trials: {total['settled']} settled, "
        f"{total['to do']} to do{following}\n"
        f"predicted: {gradients:.2g} gradient evaluations, "
        f"{' and '.join(_amount(hours[unit], unit) for unit in used) or 'no time'}"
        f"{_reservation(state, cost, timed, devices)}\n"
        f"{not_predicted}"
        f"{_kept(rows)}"
        f"files: at most {files} small ones in {run} ({'there' if run.is_dir() else 'new'}); "
        f"{command('compact', run)} merges them"
    )
    if state.older:
        print(of_older_version(state.older))
    for name in sorted({column.problem.dataset for column in sweep.columns}):
        try:
            datasets.check_files(name)
        except datasets.DatasetError as error:  # a plan needs no data; a run does
            warn(str(error))


COMMANDS = {"plan": plan}


def _amount(hours: float, unit: str) -> str:
    """An amount of hours; less than one as a time of one core or card."""
    if hours >= 1:
        return f"{hours:,.1f} {unit}" if hours < 100 else f"{hours:,.0f} {unit}"
    return f"{duration(3600 * hours)} of one {unit.removesuffix(' hours')}"


def _devices(profile: Profile | None) -> tuple[PlannedDevices, Allocation]:
    """What the trials would be computed on: nodes of a profile, or this machine."""
    if profile is None:
        names = {"cpu": device_name("cpu"), "cuda": next(iter(gpu_names()), None)}
        return PlannedDevices.named(names), here()
    devices = PlannedDevices.named({"cpu": profile.cpu, "cuda": profile.gpu})
    if profile.gpus_per_node and "cuda" not in devices.speeds:
        reason = (
            "the profile does not name its GPUs"
            if profile.gpu is None
            else f"nothing is known of gpu {profile.gpu!r}"
        )
        warn(
            f"{reason}: which trials go there, and how long they take, cannot be said; eos doctor "
            "--cluster measures them, and tells the name for the profile's key gpu"
        )
    return devices, profile.allocation


def _predicted(
    run: Path, state: RunState, sound: npt.NDArray[np.bool_], devices: PlannedDevices
) -> tuple[Prediction, str | None]:
    """The cost of the sound columns, and where gradients were timed for it."""
    known = read_gradient_seconds(run)
    timed = timed_for(state, known)
    here = timed.keys() - known.keys()
    where = "on a CPU of this machine" if here else "when a run began" if timed else None
    cost = predict(state, gradient_seconds=timed, speeds=devices.speeds)
    return cost.only(sound), where


def _reservation(
    state: RunState, cost: Prediction, timed: str | None, devices: PlannedDevices
) -> str:
    """What a prediction rests on, as long as that is not what was measured."""
    if not cost.guess.any():
        return ""
    said = "a guess until each column's flow has run"
    if timed is not None:
        said += f"; a gradient and a Hessian product were timed {timed}"
    kinds = sorted({state.columns[i].resources.device for i in np.flatnonzero(~cost.timed)})
    if kinds:
        one_core = "the speed of one CPU core"
        speeds = dict.fromkeys(devices.sources.get(kind, one_core) for kind in kinds)
        said += f"; what was never timed is taken at {' and '.join(speeds)}"
        if "cuda" in kinds and "cuda" not in devices.sources:
            said += ", and all but tiny networks take less on a GPU"
    return f" ({said})"


def _planned(state: RunState, cost: Prediction, refused: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row for each column; without a cost where its network is refused."""
    labels, rows = column_labels(state.columns), []
    for i, its in enumerate(state):
        protocol, refusal = its.column.protocol, refused.get(its.column_id)
        measures = bool(protocol.also or protocol.eigenvalues)  # a table of their own
        predicted, resources = refusal is None, its.column.resources
        more = bool(resources.keep) + bool(protocol.trajectory_eigenvalues)  # two more tables
        unit = HOURS[resources.device]
        hours = float(cost.seconds[i]) * resources.devices / 3600
        rows.append(
            {
                "column": labels[its.column_id],
                "column_id": its.column_id,
                **_numbers(its.counts),
                "files": (TABLES + measures + more) * its.counts.left,
                "kept_bytes": kept_bytes(its.column, its.counts.left) if predicted else None,
                "gradients": float(cost.gradients[i]) if predicted else None,
                **dict.fromkeys(HOURS.values()),
                **({unit: hours} if predicted else {}),
                "guess": bool(cost.guess[i]) if predicted else None,
                "timed": bool(cost.timed[i]) if predicted else None,
                "refused": refusal,
            }
        )
    return rows


def _kept(rows: list[dict[str, Any]]) -> str:
    """How much the states take that are to be kept."""
    kept = sum(row["kept_bytes"] or 0 for row in rows)
    return f"states to keep: at most {kept / 2**30:.3g} GiB\n" if kept else ""


def _numbers(trials: Counts) -> dict[str, int]:
    return {
        "trials": trials.wanted,
        "settled": trials.settled,
        "failed": trials.failed,
        "blocked": trials.blocked,
        "to do": trials.left,
    }
