"""Columns in a few words, for people to tell them apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from jobs.spec import Problem
from jobs.spec.network_name import short_name
from jobs.spec.problem import default_normalization
from orchestrator.sweep import Column


def column_labels(columns: Sequence[Column]) -> Mapping[str, str]:
    """The labels of these columns, by column_id.

    Where several would look the same, as one problem does under several protocols, each also names
    what differs among them.
    """
    alike: dict[str, list[Column]] = defaultdict(list)
    for column in columns:
        alike[column_label(column)].append(column)
    return {
        column.column_id: " ".join(filter(None, (label, *words)))
        for label, group in alike.items()
        for column, words in zip(group, _differences(group), strict=True)
    }


def short_labels(columns: Sequence[Column]) -> Mapping[str, str]:
    """Of each column, by column_id, the words in which not all of these columns agree."""
    words = [_words(column) for column in columns]
    differ = [len(set(said)) > 1 for said in zip(*words, strict=True)]
    alike: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, of_column in enumerate(words):
        alike[tuple(of_column)].append(index)
    more: dict[int, list[str]] = {}
    for group in alike.values():
        of_group = _differences([columns[index] for index in group])
        more.update(zip(group, of_group, strict=True))
    return {
        column.column_id: " ".join(
            filter(None, (*(w for w, says in zip(words[i], differ, strict=True) if says), *more[i]))
        )
        for i, column in enumerate(columns)
    }


def column_label(column: Column) -> str:
    """A column in a few words, for people: sizes, and what is not as usual."""
    return " ".join(filter(None, _words(column)))


def _words(column: Column) -> list[str]:
    """The words of a label, of every column in the same places; empty for what is as usual."""
    p = column.problem
    bracketed = "(" in p.dataset
    return [
        f"{p.dataset} n={p.n_train}" if bracketed else f"{p.dataset}-{p.n_train}",
        "" if p.subset == Problem.subset else p.subset,
        _normalization(p),
        short_name(p.architecture),
        shape(p.depth, p.width),
        p.activation or "",
        p.loss,
        p.parameterization if p.width is not None else "",
        "" if p.base_width is None else f"(base width {p.base_width})",
        "" if p.init_scale == Problem.init_scale else f"×{p.init_scale:g}",
        "" if p.dtype == Problem.dtype else p.dtype,
        "" if p.seed is None else f"seed {p.seed}",
    ]


def shape(depth: int | None, width: int | None) -> str:
    """Depth and width in words: those of the two that the network has."""
    if depth is not None and width is not None:
        return f"{depth}×{width}"
    words = {"depth": depth, "width": width}
    return "".join(f"{name} {value}" for name, value in words.items() if value is not None)


def _differences(group: Sequence[Column]) -> list[list[str]]:
    """Of each column, the fields in which not all of the group agree."""
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
    """How inputs are standardised, where that is not what the dataset usually has."""
    if problem.normalization == default_normalization(problem.dataset):
        return ""
    none = problem.normalization == "none"
    return "unnormalized" if none else f"{problem.normalization}-normalized"
