"""The states that trials keep: a file for each in the run directory, ``TRIAL-STEP.safetensors``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.store.files import StoreError, atomic_write

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = "kept"
"""In the run directory."""


def state_name(trial_id: str, step: int) -> str:
    """The name of a state's file: a state is that of a trial after so many steps."""
    return f"{trial_id}-{step}.safetensors"


def state_path(run: Path, trial_id: str, step: int) -> Path:
    """Where a state lies."""
    return run / FOLDER / state_name(trial_id, step)


def write_state(run: Path, trial_id: str, step: int, time: float, theta: Tensor) -> None:
    """Write a state; the same one that is there already is replaced.

    Raises:
        StoreError: the run directory cannot be written to.
    """
    about = {"trial_id": trial_id, "step": str(step), "time": repr(time)}
    write_theta(state_path(run, trial_id, step), theta, about)


def write_theta(path: Path, theta: Tensor, about: dict[str, str]) -> None:
    """Write a θ whole to a file, with what is known about it.

    Raises:
        StoreError: its folder cannot be written to.
    """
    from safetensors.torch import save_file

    path.parent.mkdir(mode=0o700, exist_ok=True)
    tensors = {"theta": theta.detach().cpu().clone()}
    atomic_write(path, lambda temporary: save_file(tensors, temporary, about))


def read_state(run: Path, trial_id: str, step: int) -> Any:
    """θ of a state, shape (P,), on the CPU.

    Raises:
        StoreError: there is no such file, or it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = state_path(run, trial_id, step)
    try:
        return load_file(path)["theta"]
    except (OSError, SafetensorError, KeyError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StoreError(f"{path} cannot be read: {reason}") from None
