"""From a sweep file and overrides to a sweep, and back to a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from pydantic import ValidationError

from jobs.spec import Protocol
from orchestrator.sweep.columns import Axis, EtaGrid, Grid, Resources, Sweep
from orchestrator.sweep.model import KEYS, Block, File
from orchestrator.sweep.refusal import refusal, unknown_key
from orchestrator.sweep.sentences import SweepError, shown
from orchestrator.sweep.text import read, read_file, read_override

_Path = tuple[str | int, ...]


def load(path: Path, overrides: Sequence[str] = ()) -> Sweep:
    """The sweep of a file, with ``key=value`` overrides on top; see :func:`parse`.

    Raises:
        SweepError: the file cannot be read, or :func:`parse` refuses it.
    """
    named = f"the sweep file {str(path)!r}"
    return parse(read_file(path, named), overrides, source=named)


def parse(text: str, overrides: Sequence[str] = (), source: str = "the sweep file") -> Sweep:
    """The sweep of a YAML text, with ``key=value`` overrides on top.

    Overrides win over the file and over each of its ``grids`` alike. ``source`` is what messages
    call the text.

    Raises:
        SweepError: the sweep cannot be run; one sentence says which key, which value, and what
            would be right.
    """
    content = read(text, source)
    changes = _changes(overrides)
    content = _merged(content, changes)
    of_blocks = {key: value for key, value in changes.items() if key not in ("name", "grids")}
    blocks = content.get("grids")
    if isinstance(blocks, list):
        blocks = [_merged(b, of_blocks) if isinstance(b, dict) else b for b in blocks]
        content = {**content, "grids": blocks}
    _refuse_wrong_keys(content, partial=bool(blocks))
    base = {key: value for key, value in content.items() if key not in ("name", "grids")}
    grids = (
        [_grid(_merged(base, block), ("grids", place)) for place, block in enumerate(blocks)]
        if blocks
        else [_grid(base)]
    )
    sweep = Sweep(name=content["name"], grids=tuple(grids))
    sweep.columns  # noqa: B018  (kept by the sweep; what no column can be is refused here)
    return sweep


def dump(sweep: Sweep) -> str:
    """The YAML text of the sweep with nothing left to defaults; :func:`parse` gives it back."""
    blocks = [_content(grid) for grid in sweep.grids]
    below = blocks[0] if len(blocks) == 1 else {"grids": blocks}
    return OmegaConf.to_yaml(OmegaConf.create({"name": sweep.name, **below}))


def _changes(overrides: Sequence[str]) -> dict[Any, Any]:
    changes: dict[Any, Any] = {}
    seen: dict[str, str] = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise SweepError(
                f"the override {shown(override)} has no '='; it must be KEY=VALUE, "
                "such as problem.width=128"
            )
        if key not in KEYS:
            raise unknown_key(key.split("."))
        if key in seen:
            raise SweepError(
                f"{key} is overridden twice, by {shown(seen[key])} and {shown(override)}; "
                "it must be overridden once"
            )
        seen[key] = override
        changes = _merged(changes, read_override(override, key, value))
    return changes


def _merged(base: Mapping[Any, Any], change: Mapping[Any, Any], path: _Path = ()) -> dict[Any, Any]:
    """``base`` with ``change`` on top, block by block; lists and ``eta.values`` are replaced."""
    merged = dict(base)
    for key, value in change.items():
        below = (*path, key)
        if isinstance(value, dict) and below != ("eta", "values"):
            old = merged.get(key)
            merged[key] = _merged(old if isinstance(old, dict) else {}, value, below)
        else:
            merged[key] = value
    return merged


def _refuse_wrong_keys(content: Mapping[Any, Any], partial: bool) -> None:
    """Refuses what is wrong where it stands; a partial file leaves keys to its blocks."""
    try:
        File.model_validate(content)
    except ValidationError as error:
        errors = [
            each
            for each in error.errors()
            if not partial or each["type"] != "missing" or each["loc"] == ("name",)
        ]
        if errors:
            raise refusal(errors) from None


def _grid(content: Mapping[Any, Any], path: _Path = ()) -> Grid:
    try:
        block = Block.model_validate(content)
    except ValidationError as error:
        raise refusal(error.errors(), path) from None
    axes = (Axis(field=field, values=values) for field, values in block.problem)
    return Grid(
        axes=tuple(axes),
        protocol=Protocol(
            epsilons=block.stop.epsilon,
            max_steps=block.stop.max_steps,
            divergence_factor=block.stop.divergence_factor,
            trajectory_every=block.measure.trajectory_every,
            sharpness_rtol=block.measure.sharpness_rtol,
            flow_method=block.flow.resolved,
        ),
        eta=EtaGrid(unit=block.eta.unit, rates=block.eta.rates),
        stop_after_divergences=block.eta.stop_after_divergences,
        resources=Resources(**block.resources.model_dump()),
    )


def _content(grid: Grid) -> dict[str, Any]:
    protocol = grid.protocol
    return {
        "problem": {
            axis.field: axis.values[0] if len(axis.values) == 1 else list(axis.values)
            for axis in grid.axes
            if axis.values != (None,)
        },
        "eta": {
            "unit": grid.eta.unit,
            "values": list(grid.eta.rates),
            "stop_after_divergences": grid.stop_after_divergences,
        },
        "stop": {
            "epsilon": list(protocol.epsilons),
            "max_steps": protocol.max_steps,
            "divergence_factor": protocol.divergence_factor,
        },
        "flow": {"method": protocol.flow_method},
        "measure": {
            "trajectory_every": protocol.trajectory_every,
            "sharpness_rtol": protocol.sharpness_rtol,
        },
        "resources": dataclasses.asdict(grid.resources),
    }
