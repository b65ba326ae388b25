"""A trial's state on disk, in safetensors: loading one runs no code."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from jobs.records import Crossing, Point
from jobs.whole_file import write_whole

FORMAT = 2
TENSORS = ("theta", "previous", "eigenvectors")


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: damaged, of another trial, or of another format."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """All that a trial needs to go on as if it had never stopped.

    ``theta`` is the last iterate, shape (P,), and ``previous`` the one before, of methods that need
    it. ``eigenvectors``, shape (k, P), are those of the last measurement of the sharpness, which
    was number ``since_audit`` after one that started cold. ``evaluated`` says whether the gradient
    at ``theta`` is already among ``gradients``. ``method`` is the integrator's own state.
    """

    trial_id: str
    theta: Tensor
    previous: Tensor | None
    eigenvectors: Tensor | None
    since_audit: int
    step: int
    time: float
    initial_loss: float | None
    max_sharpness: float | None
    evaluated: bool
    gradients: int
    hvps: int
    method: dict[str, float]
    crossings: tuple[Crossing, ...]
    trajectory: tuple[Point, ...]


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint so that the file is the old one or the new one, never a mixture."""
    state = {
        field.name: getattr(checkpoint, field.name)
        for field in dataclasses.fields(checkpoint)
        if field.name not in (*TENSORS, "crossings", "trajectory")
    }
    state["crossings"] = [dataclasses.asdict(crossing) for crossing in checkpoint.crossings]
    tensors = {"trajectory": _pack(checkpoint.trajectory)}
    for name in TENSORS:
        tensor = getattr(checkpoint, name)
        if tensor is not None:
            tensors[name] = tensor.detach().cpu().contiguous()
    metadata = {"format": str(FORMAT), "state": json.dumps(state)}
    write_whole(path, lambda temporary: save_file(tensors, temporary, metadata))


def load(path: Path, trial_id: str) -> Checkpoint:
    """Read the checkpoint of a trial; its tensors are on the CPU.

    Raises:
        FileNotFoundError: there is none.
        CheckpointError: the file is damaged or does not belong to this trial.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata.get("format") != str(FORMAT):
            raise CheckpointError(f"{path} is not of checkpoint format {FORMAT}")
        state = json.loads(metadata["state"])
        if state["trial_id"] != trial_id:
            raise CheckpointError(f"{path} belongs to trial {state['trial_id']}, not {trial_id}")
        state["crossings"] = tuple(Crossing(**crossing) for crossing in state["crossings"])
        return Checkpoint(
            theta=tensors["theta"],
            previous=tensors.get("previous"),
            eigenvectors=tensors.get("eigenvectors"),
            trajectory=_unpack(tensors["trajectory"]),
            **state,
        )
    except CheckpointError:
        raise
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error})") from error


def _pack(trajectory: tuple[Point, ...]) -> Tensor:
    """Shape (points, columns), float64; NaN stands for None, which a point's numbers never are."""
    rows = [
        [float("nan") if value is None else float(value) for value in dataclasses.astuple(point)]
        for point in trajectory
    ]
    columns = len(dataclasses.fields(Point))
    return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), columns)


def _unpack(rows: Tensor) -> tuple[Point, ...]:
    names = [field.name for field in dataclasses.fields(Point)]
    points = []
    for row in rows.tolist():
        values: dict[str, Any] = {
            name: None if value != value else value for name, value in zip(names, row, strict=True)
        }
        values["step"] = int(values["step"])
        points.append(Point(**values))
    return tuple(points)
