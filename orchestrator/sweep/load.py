"""From a sweep file and overrides to a sweep, and back to a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from pydantic import ValidationError

from jobs.spec import Protocol
from orchestrator.sweep.compose import DEEPEST, on_base, united_files
from orchestrator.sweep.content import content_of
from orchestrator.sweep.grid import Axis, EtaGrid, Grid, Resources
from orchestrator.sweep.model import KEYS, Block, File
from orchestrator.sweep.own_networks import with_digests
from orchestrator.sweep.problem_keys import distinct
from orchestrator.sweep.refusal import refusal, unknown_key
from orchestrator.sweep.sentences import SweepError, dotted, shown
from orchestrator.sweep.sweep import Sweep
from orchestrator.sweep.text import read, read_file, read_override
from orchestrator.sweep.tidy import tidied

_Path = tuple[str | int, ...]


def load(path: Path, overrides: Sequence[str] = ()) -> Sweep:
    """The sweep of a file, with ``key=value`` overrides on top; see :func:`parse`.

    Raises:
        SweepError: the file cannot be read, or :func:`parse` refuses it.
    """
    return _load(path, overrides, 0)


def _load(path: Path, overrides: Sequence[str], depth: int) -> Sweep:
    named = f"the sweep file {str(path)!r}"
    return parse(read_file(path, named), overrides, source=named, folder=path.parent, depth=depth)


def parse(
    text: str,
    overrides: Sequence[str] = (),
    source: str = "the sweep file",
    folder: Path = Path(),
    depth: int = 0,
) -> Sweep:
    """The sweep of a YAML text, with ``key=value`` overrides on top.

    Overrides win over the file, over each of its ``grids`` and over what ``when`` changes alike.
    ``source`` is what messages call the text; files that it names are looked for from ``folder``,
    and it has itself been named by others to a ``depth``.

    Raises:
        SweepError: the sweep cannot be run; one sentence says which key, which value, and what
            would be right.
    """
    changes = _changes(overrides)
    written = on_base(read(text, source), folder, _merged)
    if "unite" in written:
        return _united(written, overrides, folder, depth)
    content = _merged(_without_overridden(written, changes), changes)
    of_blocks = {key: value for key, value in changes.items() if key not in ("name", "grids")}
    blocks = content.get("grids")
    own = [_fields_of(block) for block in blocks] if isinstance(blocks, list) else []
    if isinstance(blocks, list):
        blocks = [
            _merged(_without_overridden(b, changes), of_blocks) if isinstance(b, dict) else b
            for b in blocks
        ]
        content = {**content, "grids": blocks}
    content = with_digests(content, folder)
    blocks = content.get("grids")
    _refuse_wrong_keys(content, partial=bool(blocks))
    base = {key: value for key, value in content.items() if key not in ("name", "grids")}
    grids = (
        [_grid(_merged(base, block), ("grids", place)) for place, block in enumerate(blocks)]
        if blocks
        else [_grid(base)]
    )
    sweep = Sweep(name=content["name"], grids=tuple(grids))
    narrowed = "problem" in changes or "grids" in changes
    return tidied(sweep, own, narrowed=narrowed)


def _united(
    content: Mapping[Any, Any], overrides: Sequence[str], folder: Path, depth: int
) -> Sweep:
    """The grids of several files, as one sweep of the file's own name."""
    if depth == DEEPEST:
        raise SweepError(f"unite is {shown(content['unite'])}; it must not lead back to itself")
    parts = [_load(path, overrides, depth + 1) for path in united_files(content, folder)]
    grids = dict.fromkeys(grid for part in parts for grid in part.grids)
    try:
        own = {key: value for key, value in content.items() if key == "name"}
        name = File.model_validate({**_ANY_GRID, **own}).name
    except ValidationError as error:
        raise refusal(error.errors()) from None
    named = next((o.partition("=")[2] for o in overrides if o.startswith("name=")), name)
    sweep = Sweep(name=named, grids=tuple(grids))
    _ = sweep.columns  # columns that two files want handled differently are refused here
    return sweep


_ANY_GRID = {
    "problem": {"dataset": "any", "n_train": 1},
    "eta": {"values": [1]},
    "stop": {"epsilon": 1},
}
"""What makes a file complete but for its name."""


def dump(sweep: Sweep) -> str:
    """The YAML text of the sweep with nothing left to defaults; :func:`parse` gives it back."""
    blocks = [content_of(grid) for grid in sweep.grids]
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


def _without_overridden(content: dict[Any, Any], changes: Mapping[Any, Any]) -> dict[Any, Any]:
    """A block whose conditions leave alone what the command line says."""
    conditions = content.get("when")
    if not isinstance(conditions, list) or "when" in changes:
        return content
    left = [_left_of(each, changes) if isinstance(each, dict) else each for each in conditions]
    return {**content, "when": [each for each in left if each is not None]}


def _left_of(condition: dict[Any, Any], changes: Mapping[Any, Any]) -> dict[Any, Any] | None:
    """A condition without changes that the command line overrides; None if nothing is left."""
    left = dict(condition)
    for name, overridden in changes.items():
        block = left.get(name)
        if isinstance(block, dict) and isinstance(overridden, dict):
            left[name] = {key: value for key, value in block.items() if key not in overridden}
            if not left[name]:
                del left[name]
    return None if left != condition and set(left) <= {"match"} else left


def _fields_of(block: object) -> frozenset[Any]:
    """The fields of a problem that a block of the file names itself."""
    problem = block.get("problem") if isinstance(block, dict) else None
    return frozenset(problem) if isinstance(problem, dict) else frozenset()


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
    axes = {axis.field: axis for axis in block.problem.axes}
    _refuse_unequal(block.zip, axes, path)
    together = {field for group in block.zip for field in group}
    return Grid(
        axes=tuple(
            axis if field in together else Axis(field=field, values=distinct(axis.values))
            for field, axis in axes.items()
        ),
        protocol=Protocol(
            epsilons=block.stop.epsilon,
            max_steps=block.stop.max_steps,
            divergence_factor=block.stop.divergence_factor,
            flow_method=block.flow.resolved,
            **dict(block.measure),
        ),
        eta=EtaGrid(unit=block.eta.unit, rates=block.eta.rates),
        stop_after_divergences=block.eta.stop_after_divergences,
        resources=Resources(**block.resources.model_dump()),
        zipped=block.zip,
        exclude=tuple(keys.value for keys in block.exclude),
        when=tuple(keys.condition for keys in block.when),
    )


def _refuse_unequal(
    groups: tuple[tuple[str, ...], ...], axes: Mapping[str, Axis], path: _Path
) -> None:
    """Make sure that axes which advance together have as many values each."""
    where = dotted((*path, "zip"))
    for first, *others in groups:
        count = len(axes[first].values)
        for other in others:
            if len(axes[other].values) != count:
                raise SweepError(
                    f"{where} has problem.{first} with {_counted(count)} and problem.{other} with "
                    f"{_counted(len(axes[other].values))}; they must have as many, for they "
                    "advance together"
                )


def _counted(count: int) -> str:
    return "1 value" if count == 1 else f"{count} values"
