"""Short labels by which people tell columns apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from jobs.spec import GD, NAMES, Problem
from jobs.spec.dataset_name import short_dataset
from jobs.spec.network_name import short_name
from jobs.spec.problem import default_normalization
from orchestrator.sweep import Column


def column_labels(columns: Sequence[Column]) -> Mapping[str, str]:
    """The labels of these columns, by column_id.

    Where several labels would be equal, as those of one problem under several protocols, each also
    names what differs among them.
    """
    alike: dict[str, list[Column]] = defaultdict(list)
    for column in columns:
        alike[column_label(column)].append(column)
    return {
        column.column_id: " ".join(filter(None, (label, *parts)))
        for label, group in alike.items()
        for column, parts in zip(group, _differences(group), strict=True)
    }


def short_labels(columns: Sequence[Column]) -> Mapping[str, str]:
    """Of each column, by column_id, the parts of its label in which these columns differ."""
    parts = [_parts(column) for column in columns]
    differ = [len(set(said)) > 1 for said in zip(*parts, strict=True)]
    alike: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, of_column in enumerate(parts):
        alike[tuple(of_column)].append(index)
    more: dict[int, list[str]] = {}
    for group in alike.values():
        of_group = _differences([columns[index] for index in group])
        more.update(zip(group, of_group, strict=True))
    return {
        column.column_id: " ".join(
            filter(None, (*(w for w, says in zip(parts[i], differ, strict=True) if says), *more[i]))
        )
        for i, column in enumerate(columns)
    }


def column_label(column: Column) -> str:
    """A column in a few words: its sizes, and what is not the default."""
    return " ".join(filter(None, _parts(column)))


def _parts(column: Column) -> list[str]:
    """The parts of a label, in the same order for every column; empty for a default."""
    p = column.problem
    dataset = short_dataset(p.dataset)
    apart = not dataset.replace("-", "").isalnum()  # with options, or a file
    return [
        f"{dataset} n={p.n_train}" if apart else f"{dataset}-{p.n_train}",
        "" if p.subset == Problem.subset else p.subset,
        _normalization(p),
        short_name(p.architecture),
        shape(p.depth, p.width),
        p.activation or "",
        short_name(p.loss),
        "" if p.weight_decay is None else f"weight decay {p.weight_decay:g}",
        "" if column.optimizer == GD else str(column.optimizer),
        "" if column.start is None else f"from {column.start.said}",
        "" if column.kind == "gd" else NAMES[column.kind],
        p.parameterization if p.width is not None else "",
        "" if p.base_width is None else f"(base width {p.base_width})",
        "" if p.init_scale == Problem.init_scale else f"×{p.init_scale:g}",
        "" if p.dtype == Problem.dtype else p.dtype,
        "" if p.seed is None else f"seed {p.seed}",
    ]


def shape(depth: int | None, width: int | None) -> str:
    """Depth and width in parts: those of the two that the network has."""
    if depth is not None and width is not None:
        return f"{depth}×{width}"
    parts = {"depth": depth, "width": width}
    return "".join(f"{name} {value}" for name, value in parts.items() if value is not None)


def _differences(group: Sequence[Column]) -> list[list[str]]:
    """Of each column, the fields in which not all of the group agree."""
    if len(group) == 1:
        return [[]]
    fields = [{**vars(column.protocol), **vars(column.problem)} for column in group]
    differ = [name for name in fields[0] if any(one[name] != fields[0][name] for one in fields)]
    return [[_said(name, one[name]) for name in differ] for one in fields]


def _said(field: str, value: Any) -> str:
    """A field in words; nothing for one that is not asked for."""
    if not value:
        return ""
    if value is True:
        return field
    if field == "architecture":  # of one name, but of two contents
        return f"@{value.rpartition('@')[2]}"
    name = "ε" if field == "epsilons" else field
    return f"{name} {', '.join(map(_number, value if isinstance(value, tuple) else (value,)))}"


def _number(value: Any) -> str:
    short = f"{value:g}" if isinstance(value, float) else ""
    return short if short and float(short) == value else str(value)


def _normalization(problem: Problem) -> str:
    """How inputs are standardised, where that is not the default of the dataset."""
    if problem.normalization == default_normalization(problem.dataset):
        return ""
    none = problem.normalization == "none"
    return "unnormalized" if none else f"{problem.normalization}-normalized"
