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

from jobs.dynamics.flow_reference import FlowState
from jobs.records import Crossing, Measured, Point
from jobs.whole_file import write_whole

FORMAT = 3
TENSORS = ("theta", "previous", "eigenvectors")
FLOW = "flow_"
"""How the names of the tensors begin that are the same of the flow beside GD."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: damaged, of another trial, or of another format."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """All that a trial needs to go on as if it had never stopped.

    ``theta`` is the last iterate, shape (P,), and ``previous`` the one before, of methods that need
    it. ``eigenvectors``, shape (k, P), are those of the last measurement of the sharpness, which
    was number ``since_audit`` after one that started cold. ``evaluated`` says whether the gradient
    at ``theta`` is already among ``gradients``. ``method`` is the integrator's own state.
    ``flow`` is the state of the flow that GD is compared with.
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
    flow: FlowState | None
    crossings: tuple[Crossing, ...]
    trajectory: tuple[Point, ...]


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint so that the file is the old one or the new one, never a mixture."""
    state = {
        field.name: getattr(checkpoint, field.name)
        for field in dataclasses.fields(checkpoint)
        if field.name not in (*TENSORS, "flow", "crossings", "trajectory")
    }
    state["crossings"] = [dataclasses.asdict(crossing) for crossing in checkpoint.crossings]
    tensors = {"trajectory": _pack(checkpoint.trajectory)}
    for name in TENSORS:
        _add(tensors, name, getattr(checkpoint, name))
    if checkpoint.flow is not None:
        of_flow = vars(checkpoint.flow)
        state["flow"] = {name: of_flow[name] for name in of_flow if name not in TENSORS}
        for name in TENSORS:
            _add(tensors, FLOW + name, of_flow[name])
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
        state["crossings"] = tuple(_crossing(crossing) for crossing in state["crossings"])
        of_flow = state.pop("flow", None)
        return Checkpoint(
            theta=tensors["theta"],
            previous=tensors.get("previous"),
            eigenvectors=tensors.get("eigenvectors"),
            flow=None if of_flow is None else _flow(of_flow, tensors),
            trajectory=_unpack(tensors["trajectory"]),
            **state,
        )
    except CheckpointError:
        raise
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error})") from error


def _add(tensors: dict[str, Tensor], name: str, tensor: Tensor | None) -> None:
    """Put a tensor, if there is one, with those that a file holds."""
    if tensor is not None:
        tensors[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _crossing(values: dict[str, Any]) -> Crossing:
    measures = tuple(Measured(**measured) for measured in values["measures"])
    return Crossing(**{**values, "measures": measures})


def _flow(values: dict[str, Any], tensors: dict[str, Tensor]) -> FlowState:
    return FlowState(
        theta=tensors[FLOW + "theta"],
        previous=tensors[FLOW + "previous"],
        eigenvectors=tensors.get(FLOW + "eigenvectors"),
        **values,
    )


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
