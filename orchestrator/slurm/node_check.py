"""What a node must be like for a job, checked on that node; ``python -m`` answers a launch.

A launch leaves a question in ``RUN/slurm/nodes``; each node reads it there and answers twice, on
its standard output and in a file beside the question: an answer that only comes one way shows that
the node does not see the run directory that the launch sees.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from jobs import datasets
from jobs.device_speed import Calibration
from orchestrator.cluster.allocation import gpus_granted, node_name
from orchestrator.cluster.gpu_check import device_problems
from orchestrator.cluster.rendezvous import LONGEST_ROOT, interfaces
from orchestrator.run_directory import sweep_of
from orchestrator.store import write_bytes_whole
from orchestrator.store.clock import seconds_ahead
from orchestrator.sweep import Column, SweepError

PACKAGES = ("torch", "ray", "eos-sweep")
SIGN = "eos-node-check "
"""How the line of an answer begins."""


@dataclass(frozen=True)
class Question:
    """What a launch asks; only who sees the run directory can give the ``token`` back.

    ``kinds`` are those of devices, ``cpu`` and ``cuda``, whose speed is asked for.
    """

    token: str
    versions: Mapping[str, str]
    temp_root: str
    interface: str | None
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class MeasuredDevice:
    """A device of a node, and what was measured on it; else why that failed."""

    kind: str
    name: str
    calibration: Calibration | None
    failure: str | None = None


@dataclass(frozen=True)
class Answer:
    """What a node says; ``token`` is None where it could not read the question.

    ``ahead`` is by how many seconds its clock is ahead of the file server's.
    """

    node: str
    token: str | None
    problems: tuple[str, ...]
    ahead: float = 0.0
    devices: tuple[MeasuredDevice, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As a mapping of plain values, which :meth:`from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Of what :meth:`to_json` made."""
        devices = (
            {
                **device,
                "calibration": device["calibration"]
                and Calibration.from_json(device["calibration"]),
            }
            for device in content["devices"]
        )
        return cls(
            **{
                **content,
                "problems": tuple(content["problems"]),
                "devices": tuple(MeasuredDevice(**device) for device in devices),
            }
        )


def folder_of(run: Path) -> Path:
    """Where the question and the answers of a run lie."""
    return run / "slurm" / "nodes"


def question_path(run: Path) -> Path:
    """Where the newest launch of a run has left its question."""
    return folder_of(run) / "question.json"


def answer_path(run: Path, node: str) -> Path:
    """Where a node answers."""
    return folder_of(run) / f"{node}.answer.json"


def versions() -> dict[str, str]:
    """The versions of Python and of what the numbers come from, where this process runs."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def check_node(
    run: Path,
    temp_root: str = "/tmp",
    interface: str | None = None,
    expected: Mapping[str, str] | None = None,
) -> list[str]:
    """What keeps this node from running trials of a run; empty when nothing does.

    ``expected`` has the versions that must be the same here; None leaves them unchecked.
    """
    problems = _run_directory(run) + temp_root_problems(temp_root)
    if not problems:
        problems = gpu_problems(sweep_of(run).columns, gpus_granted())
    if interface is not None:
        problems += interface_problems(interface)
    for name, here in versions().items() if expected is not None else ():
        wanted = (expected or {}).get(name)
        if wanted is not None and wanted != here:
            problems.append(f"{name} is {here}; it must be {wanted}, as where it was launched")
    return problems


def gpu_problems(columns: Iterable[Column], granted: int | None) -> list[str]:
    """What keeps the GPUs here from computing the trials that ask for GPUs, if any do.

    Args:
        columns: those of the sweep.
        granted: how many GPUs this process may use; None for those that the machine has.
    """
    if not any(column.resources.gpus_per_worker for column in columns):
        return []
    return device_problems(granted)


def temp_root_problems(temp_root: str) -> list[str]:
    """What keeps a folder from holding Ray's sockets and temporary files here."""
    path = Path(temp_root)
    if len(os.fsencode(temp_root)) > LONGEST_ROOT or not path.is_absolute():
        return [
            f"temp root {temp_root!r} must be an absolute path of at most {LONGEST_ROOT} bytes, "
            "such as /tmp"
        ]
    if not path.is_dir():
        return [f"temp root {temp_root} is no folder here; it must be one, such as /tmp"]
    kind = file_system(path)
    if is_shared(kind):
        return [
            f"temp root {temp_root} is on {kind}, which machines share; it must be on a disk of "
            "the node itself, such as /tmp"
        ]
    reason = _writing_fails(path)
    return [] if reason is None else [f"temp root {temp_root} must be writable: {reason}"]


def interface_problems(interface: str) -> list[str]:
    """What is wrong with the name of a network interface here."""
    names = interfaces()
    if interface in names:
        return []
    return [f"interface is {interface!r}; it must be one of {', '.join(names)} here"]


def _run_directory(run: Path) -> list[str]:
    try:
        sweep = sweep_of(run)
    except SweepError as error:
        return [f"run directory {run} cannot be read here: {error}"]
    reason = _writing_fails(run)
    problems = [] if reason is None else [f"run directory {run} must be writable: {reason}"]
    wrong = datasets.errors_of(column.problem for column in sweep.columns)
    return [*problems, *map(str, wrong)]


def _writing_fails(folder: Path) -> str | None:
    """Why nothing can be written to a folder; None when it can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"eos")
            file.flush()
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)
    return None


def _answer(run: Path, node: str) -> Answer:
    try:
        question = Question(**json.loads(question_path(run).read_text()))
    except (OSError, ValueError, TypeError) as error:
        reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else "damaged"
        return Answer(
            node,
            None,
            (
                f"run directory {run} is not the one that the launch wrote to ({reason}); it must "
                "be on a file system that all nodes share",
            ),
        )
    problems = check_node(run, question.temp_root, question.interface, question.versions)
    try:
        ahead = seconds_ahead(folder_of(run))
    except OSError:  # which is a problem of its own
        ahead = 0.0
    devices = () if problems else tuple(_measured(kind) for kind in question.kinds)
    answer = Answer(node, question.token, tuple(problems), ahead, devices)
    with contextlib.suppress(OSError):  # the missing file says so itself
        write_bytes_whole(answer_path(run, node), json.dumps(answer.to_json()).encode())
    return answer


def _measured(kind: str) -> MeasuredDevice:
    from orchestrator.engine.calibration import CalibrationError, calibrated, device_name

    name = device_name(kind)
    try:
        return MeasuredDevice(kind, name, calibrated(kind))
    except CalibrationError as error:
        return MeasuredDevice(kind, name, None, str(error))


_SHARED = {
    "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "cvmfs", "glusterfs", "gpfs", "lustre", "nfs",
    "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb3", "smbfs", "wekafs",
}  # fmt: skip
_LOCAL_FUSE = ("fuse.fuse-overlayfs", "fuseblk")


def file_system(path: Path) -> str:
    """The type of the file system of a path; ``unknown`` where the system does not tell."""
    resolved, best, found = path.resolve(), -1, "unknown"
    for mounted in psutil.disk_partitions(all=True):
        point = Path(mounted.mountpoint)
        # Of two file systems mounted on one point, the later one is seen.
        if resolved.is_relative_to(point) and len(point.parts) >= best:
            best, found = len(point.parts), mounted.fstype
    return found


def is_shared(kind: str) -> bool:
    """Whether a type of file system is one that machines share over a network."""
    return kind in _SHARED or (kind.startswith("fuse") and kind not in _LOCAL_FUSE)


def main() -> None:
    """Answer the question of a run, on standard output and in a file."""
    run = Path(sys.argv[1])
    node = node_name()
    print(SIGN + json.dumps(_answer(run, node).to_json()), flush=True)


if __name__ == "__main__":
    main()
