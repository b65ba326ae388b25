"""A grid as the keys and values of a sweep file, with nothing left to defaults."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from orchestrator.sweep.grid import PROTOCOL_FIELDS, Grid, GridStart
from orchestrator.sweep.rules import Axis, Condition, Match, key_of


def content_of(grid: Grid) -> dict[str, Any]:
    """What a block of a sweep file says that stands for this grid."""
    spare = dict(grid.spare)
    keys: list[tuple[str, Any]] = [
        ("eta.unit", grid.eta.unit),
        ("eta.values", grid.eta.multiples),
        ("eta.stop_after_divergences", grid.stop_after_divergences),
        *([("eta.refine", vars(grid.eta.refine))] if grid.eta.refine else []),
        *(
            (key, value)
            for key, field in PROTOCOL_FIELDS.items()
            for value in [spare.get(field, getattr(grid.protocol, field))]
            if value is not None  # the measures that are asked for have no use for it
        ),
        *((f"resources.{name}", v) for name, v in dataclasses.asdict(grid.resources).items()),
    ]
    content: dict[str, Any] = {**_setup(grid.axes), **_nested(keys)}
    if grid.kinds != Grid.kinds:
        content["kinds"] = list(grid.kinds)
    if grid.label is not None:
        content["label"] = grid.label
    if grid.start is not None:
        content["start"] = _start(grid.start)
    if grid.zipped:
        content["zip"] = [[key_of(field) for field in group] for group in grid.zipped]
    if grid.exclude:
        content["exclude"] = [_match(match) for match in grid.exclude]
    if grid.when:
        content["when"] = [_condition(condition) for condition in grid.when]
    return content


def _setup(axes: Iterable[Axis]) -> dict[str, Any]:
    """Axes as blocks of keys; a row of seeds by its length, however long it is."""
    content = _nested((key_of(field), value) for field, value in _fields(axes).items())
    seeds = content.get("problem", {}).get("seed")
    if isinstance(seeds, list) and seeds == list(range(seeds[0], seeds[0] + len(seeds))):
        content["problem"]["seed"] = {"repeat": len(seeds), "from": seeds[0]}
    return content


def _start(start: GridStart) -> dict[str, Any]:
    """States are all places and means in combination."""
    content: dict[str, list[Any]] = {}
    for state in start.states:
        for field, value in (*state.content.items(), ("average", state.average)):
            if value not in content.setdefault(field, []):
                content[field].append(value)
    return {
        "from": start.label,
        **{field: its[0] if len(its) == 1 else its for field, its in content.items()},
    }


def _fields(axes: Iterable[Axis]) -> dict[str, Any]:
    return {
        axis.field: axis.values[0] if len(axis.values) == 1 else list(axis.values) for axis in axes
    }


def _match(match: Match) -> dict[str, Any]:
    return {key_of(field): value for field, value in _fields(match.fields).items()}


def _condition(condition: Condition) -> dict[str, Any]:
    return {
        "match": _match(condition.match),
        **_setup(condition.axes),
        **_nested(condition.changes),
    }


def _nested(keys: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Dotted keys as blocks."""
    blocks: dict[str, Any] = {}
    for key, value in keys:
        name, _, below = key.partition(".")
        blocks.setdefault(name, {})[below] = list(value) if isinstance(value, tuple) else value
    return blocks
