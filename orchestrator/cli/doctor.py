"""``eos doctor``: what this machine, and with a profile each node, has and lacks."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from jobs.machine import machine_memory
from orchestrator.cli.errors import ERROR, SETTLED
from orchestrator.cli.options import Cluster, Json, PreflightWait
from orchestrator.cli.output import print_json, print_table
from orchestrator.engine import prepare
from orchestrator.engine.calibration import keep
from orchestrator.slurm.command import (
    USEFUL,
    SlurmUnavailable,
    controller_down,
    missing_programs,
    slurm_version,
)
from orchestrator.slurm.node_check import MeasuredDevice, temp_root_problems, versions
from orchestrator.slurm.preflight import WAIT_SECONDS, preflight
from orchestrator.slurm.profile import Profile, load_profile
from orchestrator.slurm.records import refuse_odd_path, refuse_shared
from orchestrator.sweep import SweepError, parse

OLDEST_PYTHON = (3, 11)

TINY = """
name: doctor
problem: {dataset: digits, n_train: 10}
eta: {values: [1]}
stop: {epsilon: 0.1}
"""
"""A sweep that needs only a dataset which comes with the packages."""

GPU_TRIALS = "resources: {gpus_per_worker: 1}\n"
"""Makes the nodes try the GPUs that a profile asks for."""


@dataclass(frozen=True)
class Check:
    """One check and what it found; ``problem`` says what would be right, None if it is."""

    check: str
    found: str
    problem: str | None = None


def doctor(
    cluster: Cluster = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            "--run-dir",
            help="The run directory that the nodes check; by default a temporary folder here.",
            show_default=False,
        ),
    ] = None,
    preflight_wait: PreflightWait = WAIT_SECONDS,
    json: Json = False,
) -> None:
    """Check this machine, or the nodes of a cluster.

    With --cluster, also checks the nodes of that profile, and measures how fast their CPUs and GPUs
    are, for eos plan. The exit status is 1 if a check fails.

    Example: eos doctor --cluster configs/clusters/loopback.yaml
    """
    profile = None if cluster is None else load_profile(cluster)
    checks = [*_machine(), *_slurm(needed=profile is not None)]
    if profile is not None:
        checks += _nodes(profile, run_dir, preflight_wait)
    if json:
        print_json([asdict(check) for check in checks])
    else:
        rows = [{**asdict(check), "problem": check.problem or "fine"} for check in checks]
        print_table(rows, ["check", "found", "problem"])
    raise typer.Exit(ERROR if any(check.problem for check in checks) else SETTLED)


COMMANDS = {"doctor": doctor}


def _machine() -> Iterator[Check]:
    import torch

    for name, version in versions().items():
        problem = "it must be installed" if version == "missing" else None
        if name == "python" and sys.version_info < OLDEST_PYTHON:
            problem = "it must be 3.11 or newer"
        yield Check(name, version, problem)
    yield Check("CPUs", str(len(os.sched_getaffinity(0))))
    yield Check("GPUs", str(torch.cuda.device_count()))
    yield Check("memory", f"{machine_memory() / 2**30:.1f} GiB")
    root = tempfile.gettempdir()
    yield Check("temp root", root, _first(temp_root_problems(root)))


def _slurm(*, needed: bool) -> Iterator[Check]:
    missing = missing_programs()
    try:
        version = slurm_version()
    except SlurmUnavailable as error:
        yield Check("SLURM", "none", error.reason if needed else None)
        return
    yield Check("SLURM", version, f"{', '.join(missing)} must be on PATH" if missing else None)
    for name in USEFUL:
        yield Check(name, shutil.which(name) or "none")


def _nodes(profile: Profile, run_dir: Path | None, wait: int) -> Iterator[Check]:
    where = f"{profile.nodes} × {profile.partition or 'the default partition'}"
    if down := controller_down():  # srun would wait for it for minutes
        yield Check("nodes", where, down)
        return
    try:
        with _run_directory(run_dir, profile.gpus_per_node) as run:
            kinds = ("cpu", "cuda") if profile.gpus_per_node else ("cpu",)
            found = preflight(run, profile, wait, kinds)
    except SweepError as error:
        yield Check("nodes", where, str(error))
        return
    if found.unasked is not None:
        yield Check("nodes", where, f"they were not checked ({found.unasked})")
    if not found.nodes and found.problems:
        yield Check("nodes", where, "; ".join(found.problems))
    for node in found.nodes:
        begin = f"node {node}: "
        problems = [text.removeprefix(begin) for text in found.problems if text.startswith(begin)]
        warned = [text.removeprefix(begin) for text in found.warnings if text.startswith(begin)]
        named = f"{node} ({'; '.join(warned)})" if warned else node
        yield Check("node", named, "; ".join(problems) or None)
    for device in found.devices:
        yield _speed(device, profile)


def _speed(device: MeasuredDevice, profile: Profile) -> Check:
    """What was measured on a device, which is kept here under its name for ``eos plan``."""
    key, named = {"cpu": ("cpu", profile.cpu), "cuda": ("gpu", profile.gpu)}[device.kind]
    check = f"a node's {key.upper()}"
    if device.calibration is None:
        return Check(check, device.name, f"its speed could not be measured ({device.failure})")
    keep(device.kind, device.name, device.calibration)
    speed = device.calibration.speed
    rates = [f"{speed.flops[dtype] / 1e9:,.0f}" for dtype in ("float32", "float64")]
    found = (
        f"{device.name}: {rates[0]} Gflop/s (float64 {rates[1]}), {speed.nbytes / 1e9:,.0f} GB/s"
    )
    if named is None:
        found += f"; {key}: {device.name} in the profile makes eos plan use it"
    elif named != device.name:
        return Check(check, found, f"{key} is {named!r} in the profile; it must be {device.name}")
    return Check(check, found)


@contextmanager
def _run_directory(given: Path | None, gpus: int) -> Iterator[Path]:
    """The given run directory, or a temporary one where runs/ would be."""
    if given is not None:
        refuse_odd_path(given)
        refuse_shared(given)
        yield given
        return
    with tempfile.TemporaryDirectory(prefix=".eos-doctor-", dir=Path.cwd()) as folder:
        run = Path(folder)
        refuse_odd_path(run)
        prepare(run, parse(TINY + GPU_TRIALS if gpus else TINY))
        yield run


def _first(problems: list[str]) -> str | None:
    return problems[0] if problems else None
