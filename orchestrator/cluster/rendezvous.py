"""Where the nodes of a job find their head: one private file in the run directory."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from jobs.whole_file import temporary_name
from orchestrator.cluster.allocation import Allocation

POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Rendezvous:
    """How to reach the head: Ray's address, that of the head's roll, and what proves who one is.

    ``versions`` are the head's, of all that must be the same on every node.
    """

    ray: str
    roll: tuple[str, int]
    token: str
    versions: Mapping[str, str]


class NoHeadError(RuntimeError):
    """The head did not say where it is."""


def meeting_place(run: Path, allocation: Allocation) -> Path:
    """The file of this incarnation of this step, and of nothing else."""
    return run / "slurm" / "rendezvous" / f"{allocation.key}.json"


def announce(path: Path, rendezvous: Rendezvous) -> None:
    """Write the file whole, readable by its owner only."""
    path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    temporary = temporary_name(path)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(rendezvous), file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def await_head(path: Path, seconds: float) -> Rendezvous:
    """What the head has written, as soon as it is there.

    Raises:
        NoHeadError: it is not there in time.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            content = json.loads(path.read_text())
        except FileNotFoundError:
            if time.monotonic() > end:
                raise NoHeadError(
                    f"the first node of the job did not start within {seconds:.0f} s: {path} is not"
                    " there; its log says why, unless the run directory is not shared"
                ) from None
            time.sleep(POLL_SECONDS)
            continue
        host, port = content.pop("roll")
        return Rendezvous(roll=(host, port), **content)
