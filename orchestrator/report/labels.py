"""Problems in words, for titles and legends: nothing that a table contains is ever markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jobs.spec import GD, Optimizer
from jobs.spec.dataset_name import short_dataset
from jobs.spec.network_name import short_name
from orchestrator.sweep.labels import shape

PROBLEM = (
    *("dataset", "n_train", "architecture", "depth", "width", "activation", "loss"),
    *("weight_decay", "parameterization", "init_scale", "seed"),
    *("optimizer", "momentum", "beta2", "damping", "start"),
)
"""The columns of ``trials`` that describe a problem, in the order in which a title names them."""

_NAMES = {
    "n_train": "n =",
    "epsilon": "ε =",
    "init_scale": "init scale",
    "weight_decay": "weight decay",
    "base_width": "base width",
    "momentum": "β",
    "beta2": "β₂",
    "damping": "δ",
    "start": "from",
}
MOST_IN_LEGEND = 18
"""Characters of a value beside others."""

_LONGEST = 36
_LONGEST_BESIDE = 20
_MOST_SEEDS = 5


def title(row: Mapping[str, Any]) -> str:
    """The problem in two lines, as plain text: to be drawn without mathematics."""
    return family_title([row])


def family_title(rows: Sequence[Mapping[str, Any]]) -> str:
    """A problem in two lines, with all seeds of the rows, which agree in all else."""
    row = rows[0]
    words = {name: shortened(row[name], _LONGEST_BESIDE) for name in PROBLEM}
    words["dataset"] = shortened(short_dataset(str(row["dataset"])))
    words["loss"] = shortened(short_name(str(row["loss"])), _LONGEST_BESIDE)
    words["optimizer"] = _optimizer(row)
    words["begin"] = "" if row["start"] is None else f", from {shortened(row['start'])}"
    decay = row["weight_decay"]
    words["decay"] = "" if decay is None else f", weight decay {words['weight_decay']}"
    words["architecture"] = shortened(short_name(str(row["architecture"])), _LONGEST_BESIDE)
    shape_of_it = shape(row["depth"], row["width"])
    words["shape"] = shape_of_it and f" {shape_of_it}"
    words["activation"] = "" if row["activation"] is None else f" {words['activation']}"
    seeds = sorted({row["seed"] for row in rows if row["seed"] is not None})
    if len(seeds) > _MOST_SEEDS:
        words["seeds"] = f", {len(seeds)} seeds"
    elif len(seeds) > 1:
        words["seeds"] = f", seeds {', '.join(map(str, seeds))}"
    else:
        words["seeds"] = f", seed {seeds[0]}" if seeds else ""
    return (
        "{dataset}, n = {n_train}  ·  {architecture}{shape}{activation}  ·  {loss} loss{decay}\n"
        "{parameterization} parameterization, init scale {init_scale}{optimizer}{begin}{seeds}"
    ).format(**words)


def _optimizer(row: Mapping[str, Any]) -> str:
    """The optimiser, where it is another one than GD."""
    if row["optimizer"] in (None, GD.name):
        return ""
    constants = {name: row[name] for name in ("momentum", "beta2", "damping")}
    return f", {Optimizer(name=row['optimizer'], **constants)}"


def in_one_line(title: str) -> str:
    """A title of two lines as one."""
    return ", ".join(" ".join(line.split()) for line in title.splitlines())


def field_name(field: str) -> str:
    """A column of ``trials`` in words."""
    return _NAMES.get(field, field.replace("_", " ")).removesuffix(" =")


def value_of(field: str, value: object) -> str:
    """A value with the name of its field, as plain text."""
    return f"{_NAMES.get(field, field.replace('_', ' '))} {shortened(value, MOST_IN_LEGEND)}"


def without_math(text: str) -> str:
    """Plain text for a label in which Matplotlib would look for mathematics."""
    return text.replace("$", r"\$")


def shortened(value: object, most: int = _LONGEST) -> str:
    """A value on one line, in at most ``most`` characters: of a longer one, both ends."""
    if value is None:
        return "?"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    text = "".join(character if character.isprintable() else " " for character in text)
    if len(text) <= most:
        return text
    ending = most // 3
    return text[: most - ending - 1] + "…" + text[-ending:]
