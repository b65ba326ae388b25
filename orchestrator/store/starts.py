"""The states at which trials begin: files in the run directory, each of a state of a parent.

A parent that never came to a state has a file too, which says why: whoever starts there need not
compute the parent again to learn it.
"""

from __future__ import annotations

from pathlib import Path

from jobs.kept_states import KeptState
from jobs.spec import Start, StateName
from jobs.starts import NoStartError
from orchestrator.store.files import StoreError
from orchestrator.store.states import write_theta

FOLDER = "starts"
"""In the run directory."""


def start_path(run: Path, trial_id: str, state: StateName) -> Path:
    """Where a state of a trial lies."""
    return run / FOLDER / f"{trial_id}-{state.file_name}.safetensors"


def write_start(run: Path, trial_id: str, state: StateName, found: KeptState | str) -> None:
    """Write a state of a trial, or why it has none.

    Raises:
        StoreError: the run directory cannot be written to.
    """
    import torch

    if isinstance(found, str):
        theta, about = torch.zeros(0), {"why": found}
    else:
        theta, about = found.theta, {"step": str(found.step), "time": repr(found.time)}
    write_theta(start_path(run, trial_id, state), theta, {"trial_id": trial_id, **about})


def read_start(run: Path, start: Start) -> KeptState | None:
    """The state at which a trial begins, on the CPU; None where its parent must be computed first.

    Raises:
        NoStartError: the parent never came to the state.
        StoreError: the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = start_path(run, start.parent.trial_id, start.state)
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            about, theta = file.metadata(), file.get_tensor("theta")
        if "why" not in about:
            return KeptState(theta, int(about["step"]), float(about["time"]), start.state)
        reason = str(about["why"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from None
    raise NoStartError(reason)
