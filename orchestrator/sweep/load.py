"""From a sweep file and overrides to a sweep, and back to a file."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jobs.spec import Protocol
from orchestrator.sweep.columns import expand
from orchestrator.sweep.content import content_of
from orchestrator.sweep.errors import NoColumnError, SweepError, dotted, shown
from orchestrator.sweep.grid import Grid, Resources
from orchestrator.sweep.keys import distinct
from orchestrator.sweep.layers import (
    Above,
    Content,
    further,
    gathered,
    merged,
    on_base,
    on_top,
    united_files,
)
from orchestrator.sweep.no_effect import OfNoEffect, checked_and_reduced, reduced
from orchestrator.sweep.refusal import refusal, unknown_key
from orchestrator.sweep.rules import OF_OPTIMIZER, Axis, key_of
from orchestrator.sweep.schema import KEYS, Block, File
from orchestrator.sweep.sweep import Sweep
from orchestrator.sweep.user_files import with_digests
from orchestrator.sweep.yaml_text import read, read_file, read_override, to_yaml

_Path = tuple[str | int, ...]


def load(path: Path, overrides: Sequence[str] = ()) -> Sweep:
    """The sweep of a file, with ``key=value`` overrides on top; see :func:`parse`.

    Raises:
        SweepError: the file cannot be read, or :func:`parse` refuses it.
    """
    return _swept(_text_of(path, overrides))


def load_kept(path: Path, named: str) -> Sweep:
    """The sweep of a file that :func:`dump` wrote, by this version or an earlier one.

    What an earlier version had a use for, and this one has not, is left out. ``named`` is what
    messages call the file.

    Raises:
        SweepError: the file cannot be read.
    """
    text = _Text(read_file(path, named), named, path.parent, (), (path.resolve(),))
    return reduced(_as_written(text)[0])[0]


def parse(
    text: str,
    overrides: Sequence[str] = (),
    source: str = "the sweep file",
    folder: Path = Path(),
) -> Sweep:
    """The sweep of a YAML text, with ``key=value`` overrides on top.

    Overrides win over the file, over each of its ``grids`` and over what ``when`` changes alike.
    ``source`` is what messages call the text; files that it names are looked for from ``folder``.

    Raises:
        SweepError: the sweep cannot be run; one sentence says which key, which value, and what
            would be right.
    """
    return _swept(_Text(text, source, folder, overrides, ()))


@dataclass(frozen=True)
class _Text:
    """The text of a sweep file, what it is called, where it lies, and what changes it."""

    text: str
    source: str
    folder: Path
    overrides: Sequence[str]
    above: Above

    @functools.cached_property
    def own(self) -> Content:
        """What the text itself says."""
        return read(self.text, self.source)

    @functools.cached_property
    def content(self) -> Content:
        """What it says on top of its bases."""
        return on_base(self.own, self.folder, self.above)

    @functools.cached_property
    def changes(self) -> Content:
        """What the command line says."""
        return _changes(self.overrides)

    @property
    def narrowed(self) -> bool:
        """Whether exclusions and conditions may fit nothing, for others wrote them more widely."""
        inherited = "base" in self.own and not {"exclude", "when"} & set(self.own)
        return bool(
            {"problem", "optimizer", "grids"} & {*self.changes, *(self.own if inherited else ())}
        )

    def parts(self) -> list[_Text]:
        """The files that it unites, with the same overrides."""
        named = self.content["unite"]
        return [
            _text_of(path, self.overrides, further(self.above, path, "unite", named))
            for path in united_files(self.content, self.folder)
        ]


def _text_of(path: Path, overrides: Sequence[str], above: Above = ()) -> _Text:
    named = f"the sweep file {str(path)!r}"
    text = read_file(path, named)
    return _Text(text, named, path.parent, overrides, above or (path.resolve(),))


def _swept(text: _Text) -> Sweep:
    """The sweep; whatever is of no effect in it is refused."""
    if "unite" in text.content:
        return _united(text)
    sweep, own = _as_written(text)
    return checked_and_reduced(sweep, own, narrowed=text.narrowed)


def _as_written(text: _Text) -> tuple[Sweep, list[frozenset[Any]]]:
    """The sweep of a file with its changes, and the fields that each of its blocks names itself."""
    grids = {key: value for key, value in text.changes.items() if key == "grids"}
    content = on_top(text.content, grids)
    blocks = content.get("grids")
    own = [_fields_of(block) for block in blocks] if isinstance(blocks, list) else []
    content = on_top(content, {k: v for k, v in text.changes.items() if k != "grids"})
    content = with_digests(content, text.folder)
    blocks = content.get("grids")
    if not blocks:
        file = _checked(content)
        return Sweep(name=file.name, grids=(_grid(file),)), own
    _refuse_wrong_keys(content)
    base = {key: value for key, value in content.items() if key not in ("name", "grids")}
    made = [
        _grid(_checked_block(merged(base, block), place), ("grids", place))
        for place, block in enumerate(blocks)
    ]
    return Sweep(name=content["name"], grids=tuple(made)), own


def _united(text: _Text) -> Sweep:
    """The grids of several files, as one sweep of the file's own name."""
    unchanged = [dataclasses.replace(part, overrides=()) for part in text.parts()]
    sources = {grid: part.source for part in unchanged for grid in _swept(part).grids}
    named = {key: v for key, v in {**text.content, **text.changes}.items() if key == "name"}
    name = _checked({**_ANY_GRID, **named}).name
    if set(text.changes) - {"name"}:
        sources = _changed_union(text)
    sweep = Sweep(name=name, grids=tuple(sources))
    try:
        _ = sweep.columns
    except SweepError:  # columns that two files want handled differently
        expand(sweep.grids, [f"{source}: " for source in sources.values()])
        raise
    return sweep


def _changed_union(text: _Text) -> dict[Grid, str]:
    """The grids of united files and which file each is of, as the command line changes them.

    What it says must have an effect somewhere, not in each of the files.
    """
    sources, left = _changed(text)
    if not sources:
        raise NoColumnError("exclude leaves no column; it must leave at least one")
    rules = left.rules if {"exclude", "when"} & set(text.changes) else ()
    if left.fields.intersection(text.changes.get("problem", ())) or (rules and not text.narrowed):
        for part in text.parts():
            _swept(part)  # refused by the first: what has no effect anywhere has none there
    return sources


def _changed(text: _Text) -> tuple[dict[Grid, str], OfNoEffect]:
    if "unite" in text.content:
        parts = [_changed(part) for part in text.parts()]
        sources = {grid: source for found, _ in parts for grid, source in found.items()}
        return sources, functools.reduce(operator.and_, (left for _, left in parts))
    try:
        sweep, left = reduced(_as_written(text)[0])
    except NoColumnError:
        return {}, OfNoEffect()
    return dict.fromkeys(sweep.grids, text.source), left


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
    return to_yaml({"name": sweep.name, **below})


def _changes(overrides: Sequence[str]) -> Content:
    changes: Content = {}
    seen: dict[str, str] = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise SweepError(
                f"the override {shown(override)} has no '='; it must be KEY=VALUE, "
                "such as problem.width=128"
            )
        if key in ("base", "unite"):
            raise SweepError(f"{key} is on the command line; it must stand in a sweep file")
        if key not in KEYS:
            raise unknown_key(key.split("."))
        if key in seen:
            raise SweepError(
                f"{key} is overridden twice, by {shown(seen[key])} and {shown(override)}; "
                "it must be overridden once"
            )
        seen[key] = override
        changes = gathered(changes, read_override(override, key, value))
    return changes


def _fields_of(block: object) -> frozenset[Any]:
    """The fields of axes that a block of the file names itself."""
    problem, optimizer = (
        found if isinstance(block, dict) and isinstance(found := block.get(name), dict) else {}
        for name in ("problem", "optimizer")
    )
    return frozenset((*problem, *(f"{OF_OPTIMIZER}{field}" for field in optimizer)))


def _checked(content: Mapping[Any, Any]) -> File:
    """A whole file."""
    try:
        return File.model_validate(content)
    except ValidationError as error:
        raise refusal(error.errors()) from None


def _checked_block(content: Mapping[Any, Any], place: int) -> Block:
    """One of the ``grids`` of a file, on top of the rest."""
    try:
        return Block.model_validate(content)
    except ValidationError as error:
        raise refusal(error.errors(), ("grids", place)) from None


def _refuse_wrong_keys(content: Mapping[Any, Any]) -> None:
    """Refuses what is wrong where it stands in a file that leaves keys to its blocks."""
    try:
        File.model_validate(content)
    except ValidationError as error:
        errors = [
            each for each in error.errors() if each["type"] != "missing" or each["loc"] == ("name",)
        ]
        if errors:
            raise refusal(errors) from None


def _grid(block: Block, path: _Path = ()) -> Grid:
    axes = {axis.field: axis for axis in (*block.problem.axes, *block.optimizer.axes)}
    _refuse_unequal(block.zip, axes, path)
    together = {field for group in block.zip for field in group}
    protocol = Protocol(
        epsilons=block.stop.epsilon,
        max_steps=block.stop.max_steps,
        max_time=block.stop.max_time,
        divergence_factor=block.stop.divergence_factor,
        flow_method=block.flow.resolved,
        **dict(block.measure),
    )
    return Grid(
        axes=tuple(
            axis if field in together else Axis(field=field, values=distinct(axis.values))
            for field, axis in axes.items()
        ),
        protocol=protocol,
        eta=block.eta.value,
        stop_after_divergences=block.eta.stop_after_divergences,
        resources=Resources(**block.resources.model_dump()),
        zipped=block.zip,
        label=block.label,
        start=None if block.start is None else block.start.value,
        kinds=block.kinds,
        exclude=tuple(keys.value for keys in block.exclude),
        when=tuple(keys.condition for keys in block.when),
        spare=tuple(
            (field, value)
            for field in ("midpoint", "probes", "perturbation")
            if (value := getattr(block.measure, field)) and not getattr(protocol, field)
        ),
    )


def _refuse_unequal(
    groups: tuple[tuple[str, ...], ...], axes: Mapping[str, Axis], path: _Path
) -> None:
    """Make sure that axes which advance together have equally many values."""
    where = dotted((*path, "zip"))
    for first, *others in groups:
        count = len(axes[first].values)
        for other in others:
            if len(axes[other].values) != count:
                raise SweepError(
                    f"{where} has {key_of(first)} with {_counted(count)} and {key_of(other)} with "
                    f"{_counted(len(axes[other].values))}; they must have as many, for they "
                    "advance together"
                )


def _counted(count: int) -> str:
    return "1 value" if count == 1 else f"{count} values"
