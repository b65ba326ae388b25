"""A trial's state on disk, in safetensors: loading one runs no code."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from jobs.dynamics.flow_reference import FlowState
from jobs.dynamics.iterate import Iterate
from jobs.recorder import Recorded
from jobs.records import Crossing, Measured, Point, PointSpectrum, finite
from jobs.whole_file import write_whole

FORMAT = 3
TENSORS = ("theta", "previous", "eigenvectors")
FIELDS = {
    *("trial_id", "step", "time", "evaluated", "gradients", "hvps", "method", "since_audit"),
    *("initial_loss", "max_sharpness", "crossings"),
}
LATER = {
    *("flow", "previous_loss", "loss_rises", "preconditioned_since_audit", "oscillation"),
    *("at_edge", "third_derivatives"),
}
"""Further fields, which not every checkpoint has."""
FEWEST_COLUMNS = 8
"""Of a point: the numbers that came later are None in a checkpoint of before."""
FLOW = "flow_"
"""How the names of the tensors begin that are the same of the flow beside GD."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: damaged, of another trial, or of another format."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """All that a trial needs to continue as if it had never stopped.

    Of the iterate, loss and gradient are not kept: they are evaluated again, and ``gradients``
    counts the evaluations before that one. ``hvps`` counts the Hessian-vector products, and
    ``third_derivatives`` the gradients of the Hessian's entries. ``method`` is the integrator's own
    state, to which ``vectors`` of shape (k, P) may belong. ``recent``, shape (k, P), are the last
    iterates, where other trials begin at a mean of them.
    """

    trial_id: str
    at: Iterate
    gradients: int
    hvps: int
    method: dict[str, float]
    recorded: Recorded
    recent: Tensor | None = None
    vectors: Tensor | None = None
    third_derivatives: int = 0


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint so that the file is the old one or the new one, never a mixture."""
    at, recorded = checkpoint.at, checkpoint.recorded
    state = {
        "trial_id": checkpoint.trial_id,
        "step": at.step,
        "time": at.time,
        "evaluated": False,
        "previous_loss": finite(at.previous_loss),
        "loss_rises": at.loss_rises,
        "oscillation": at.oscillation,
        "at_edge": at.at_edge,
        "gradients": checkpoint.gradients,
        "hvps": checkpoint.hvps,
        "third_derivatives": checkpoint.third_derivatives,
        "method": checkpoint.method,
        "since_audit": recorded.since_audit,
        "initial_loss": recorded.initial_loss,
        "max_sharpness": recorded.max_sharpness,
        "crossings": [dataclasses.asdict(crossing) for crossing in recorded.crossings],
        "preconditioned_since_audit": recorded.preconditioned_since_audit,
    }
    tensors = {
        "theta": at.theta,
        "previous": at.previous,
        "eigenvectors": recorded.eigenvectors,
        "trajectory": _table(recorded.trajectory),
        "spectra": _spectra_table(recorded.spectra),
        "moments": torch.stack(at.moments) if at.moments else None,
        "previous_gradient": at.previous_gradient,
        "recent": checkpoint.recent,
        "vectors": checkpoint.vectors,
        "preconditioned_eigenvectors": recorded.preconditioned_eigenvectors,
    }
    if recorded.flow is not None:
        of_flow = vars(recorded.flow)
        state["flow"] = {name: of_flow[name] for name in of_flow if name not in TENSORS}
        tensors |= {FLOW + name: of_flow[name] for name in TENSORS}
    kept = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
        if tensor is not None
    }
    metadata = {"format": str(FORMAT), "state": json.dumps(state)}
    write_whole(path, lambda temporary: save_file(kept, temporary, metadata))


def load(path: Path, trial_id: str, like: Tensor | None = None) -> Checkpoint:
    """Read the checkpoint of a trial.

    Args:
        path: the file.
        trial_id: whose it must be.
        like: a vector of shape (P,); the checkpoint's must have its dtype and length, and are put
            on its device. With None they are taken as they are, on the CPU.

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
        if state.keys() - LATER != FIELDS:
            raise CheckpointError(f"{path} has other fields than {', '.join(sorted(FIELDS))}")
        trajectory = _points(tensors.pop("trajectory"))
        spectra = _spectra(tensors.pop("spectra", None))
        if like is not None:
            tensors = {name: _put(path, tensors[name], like) for name in tensors}
        return Checkpoint(
            trial_id=trial_id,
            at=Iterate(
                tensors["theta"],
                state["step"],
                state["time"],
                tensors.get("previous"),
                previous_loss=math.nan
                if (before := state.get("previous_loss")) is None
                else before,
                loss_rises=state.get("loss_rises", 0),
                moments=tuple(tensors.get("moments", ())),
                previous_gradient=tensors.get("previous_gradient"),
                oscillation=state.get("oscillation", 0.0),
                at_edge=state.get("at_edge"),
            ),
            gradients=state["gradients"] - state["evaluated"],
            hvps=state["hvps"],
            method=state["method"],
            recent=tensors.get("recent"),
            vectors=tensors.get("vectors"),
            third_derivatives=state.get("third_derivatives", 0),
            recorded=Recorded(
                initial_loss=state["initial_loss"],
                max_sharpness=state["max_sharpness"],
                since_audit=state["since_audit"],
                eigenvectors=tensors.get("eigenvectors"),
                flow=_flow(state["flow"], tensors) if "flow" in state else None,
                crossings=tuple(_crossing(crossing) for crossing in state["crossings"]),
                trajectory=trajectory,
                spectra=spectra,
                preconditioned_since_audit=state.get("preconditioned_since_audit", 0),
                preconditioned_eigenvectors=tensors.get("preconditioned_eigenvectors"),
            ),
        )
    except CheckpointError:
        raise
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error})") from error


def _put(path: Path, tensor: Tensor, like: Tensor) -> Tensor:
    """A tensor on the device of a vector whose dtype and length it must have."""
    if tensor.shape[-1:] != like.shape or tensor.dtype != like.dtype:
        raise CheckpointError(
            f"{path} holds {tensor.dtype} of shape {tuple(tensor.shape)}; this trial needs "
            f"{like.dtype} of shape {tuple(like.shape)}"
        )
    return tensor.to(like.device)


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


def _table(trajectory: tuple[Point, ...]) -> Tensor:
    """Shape (points, columns), float64; NaN stands for None, which a point's numbers never are."""
    rows = [
        [float("nan") if value is None else float(value) for value in dataclasses.astuple(point)]
        for point in trajectory
    ]
    columns = len(dataclasses.fields(Point))
    return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), columns)


def _spectra_table(spectra: tuple[PointSpectrum, ...]) -> Tensor | None:
    """A row for each: its step, the eigenvalues and their residuals, in float64; NaN for None."""
    if not spectra:
        return None
    rows = [[one.step, *one.values, *one.residuals] for one in spectra]
    numbers = [[math.nan if value is None else float(value) for value in row] for row in rows]
    return torch.tensor(numbers, dtype=torch.float64)


def _spectra(rows: Tensor | None) -> tuple[PointSpectrum, ...]:
    found = []
    for step, *numbers in [] if rows is None else rows.tolist():
        values = tuple(map(finite, numbers))
        half = len(values) // 2
        found.append(PointSpectrum(int(step), values[:half], values[half:]))
    return tuple(found)


def _points(rows: Tensor) -> tuple[Point, ...]:
    names = [field.name for field in dataclasses.fields(Point)]
    if rows.ndim != 2 or not FEWEST_COLUMNS <= rows.shape[1] <= len(names):
        raise ValueError(f"points of shape {tuple(rows.shape)}")
    points = []
    for row in rows.tolist():
        values: dict[str, Any] = {
            name: None if value != value else value for name, value in zip(names, row, strict=False)
        }
        for count in {"step", "loss_rises", "at_edge"} & values.keys():
            values[count] = None if values[count] is None else int(values[count])
        points.append(Point(**values))
    return tuple(points)
