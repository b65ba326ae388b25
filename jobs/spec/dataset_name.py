"""Names of datasets, with options in brackets: read strictly, written in one way.

``point(truth=[.5,.5], x=[2.0,1])`` and ``point(x=[2, 1], truth=[0.5, 0.5])`` are one dataset, and
the latter is its name. Options are literals; nothing in a name is ever run.
"""

from __future__ import annotations

import ast
import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jobs.spec.values import SpecError, nearest

MOST_FEATURES = 1_000
"""Features of a synthetic sample: the test set of 10,000 samples is then 80 MB."""
MOST_CHARACTERS = 10_000
"""Length of a name, which is in every row of its trials."""

Read = Callable[[object], Any]
"""From a literal to the value that is kept; raises ValueError or TypeError where it has none."""


class Option(NamedTuple):
    """One option of a dataset; ``default`` is its value where it is not given, and then left out.

    An option that must be given has the default ``...``.
    """

    read: Read
    expected: str
    default: object = ...


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError
    return float(value) + 0.0  # −0 is 0


def _vector(value: object) -> tuple[float, ...]:
    if not isinstance(value, (list, tuple)) or not 1 <= len(value) <= MOST_FEATURES:
        raise ValueError
    return tuple(_number(each) for each in value)


def _matrix(value: object) -> tuple[tuple[float, ...], ...]:
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError
    rows = tuple(_vector(row) for row in value)
    if len({len(row) for row in rows}) != 1:
        raise ValueError
    return rows


def _signs(value: object) -> tuple[float, ...]:
    signs = _vector(value)
    if not set(signs) <= {-1.0, 1.0}:
        raise ValueError
    return signs


def _whole(least: int, most: int) -> Read:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError
        return value

    return read


def _count(most: int) -> Option:
    """The number of samples to read, from the beginning of a file."""
    return Option(_whole(1, most), f"a whole number from 1 to {most}", most)


def _sixteen_digits(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{16}", value):
        raise ValueError
    return value


def _files(train: int, test: int) -> dict[str, Option]:
    """The options of a dataset of files with these numbers of samples.

    With a digest it is whatever has this digest, without one it is the official files.
    """
    digest = Option(_sixteen_digits, "16 hexadecimal digits, the digest of its samples,", None)
    return {"train": _count(train), "test": _count(test), "digest": digest}


_FEATURES = f"1 to {MOST_FEATURES}"
_VECTOR = Option(_vector, f"a list of {_FEATURES} finite numbers")
_MATRIX = Option(_matrix, f"a list of samples, each a list of the same {_FEATURES} finite numbers")
_DRAWN = {
    "features": Option(_whole(1, MOST_FEATURES), f"a whole number from {_FEATURES}"),
    "informative": Option(_whole(1, MOST_FEATURES), "a whole number from 1 to features"),
    "seed": Option(_whole(0, 2**63 - 1), "a whole number of at least 0"),
}

OPTIONS: dict[str, dict[str, Option]] = {
    "mnist-mini": {},
    "digits": {},
    "mnist": _files(60_000, 10_000),
    "fashion-mnist": _files(60_000, 10_000),
    "cifar10": _files(50_000, 10_000),
    "point": {"x": _VECTOR, "truth": _VECTOR},
    "points": {
        "x": _MATRIX,
        "truth": _VECTOR,
        "y": Option(_vector, "a list with one finite number for each sample", None),
    },
    "signs": {
        "x": _MATRIX,
        "truth": _VECTOR,
        "y": Option(_signs, "a list with 1 or -1 for each sample", None),
    },
    "regression": _DRAWN,
    "classification": _DRAWN,
}
"""Every dataset and its options, in the order in which its name has them."""

_OWN = {"digest": Option(_sixteen_digits, "16 hexadecimal digits, the digest of its numbers,")}
_OWN_FILE = re.compile(r"[^/]+\.(npz|safetensors|parquet)|[^/]+\.py:[A-Za-z_][A-Za-z0-9_]*")


def is_own(base: str) -> bool:
    """Whether a dataset's name without options is that of data of the user's own: a file of
    numbers, or a function in a file.
    """
    return _OWN_FILE.fullmatch(base) is not None


def short_dataset(name: str) -> str:
    """A dataset for people to read: own data without their digest."""
    base = name.partition("(")[0]
    return base if is_own(base) else name


def options_of(base: str) -> dict[str, Option] | None:
    """The options of a dataset; None where it is unknown."""
    return _OWN if is_own(base) else OPTIONS.get(base)


EXAMPLES = {
    "point": "point(x=[2, 1], truth=[0.5, 0.5])",
    "points": "points(x=[[2, 1], [1, 3]], truth=[0.5, 0.5])",
    "signs": "signs(x=[[2, 1], [1, -3]], truth=[0.5, 0.5])",
    "regression": "regression(features=4, informative=2, seed=0)",
    "classification": "classification(features=4, informative=2, seed=0)",
}
"""Examples of datasets that must have options."""


@dataclass(frozen=True)
class DatasetName:
    """The dataset's own name, and its options: all of them, given or by default."""

    base: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        known = options_of(self.base) or {}
        shown = [
            f"{name}={_spelled(value)}"
            for name, value in self.options.items()
            if value != known[name].default
        ]
        return f"{self.base}({', '.join(shown)})" if shown else self.base


@functools.lru_cache(maxsize=1024)
def parse(text: str) -> DatasetName:
    """The dataset that a text names. A name that is unknown and has no brackets is kept as it is.

    Raises:
        SpecError: the brackets do not hold options that the dataset has, each with a value that it
            can have.
    """
    match = re.fullmatch(r"\s*([^\s()]+)\s*(?:\((.*)\)\s*)?", text, re.DOTALL)
    if match is None or (match[2] is None and options_of(match[1]) is None):
        if "(" in text or "," in text:
            raise SpecError("dataset", text, "a name, or a name with its options in brackets")
        return DatasetName(text)
    base, inside = match[1], match[2] or ""
    if (known := options_of(base)) is None:
        raise SpecError("dataset", text, f"one of {', '.join(OPTIONS)}{nearest(base, OPTIONS)}")
    given = dict(_arguments(text, inside))
    for name in given:
        if name not in known:
            has = f"has the options {', '.join(known)}" if known else "has no options"
            expected = f"{base} without {name}; it {has}{nearest(name, known)}"
            raise SpecError("dataset", text, expected)
    options = {name: _read(text, base, name, option, given) for name, option in known.items()}
    wrong = _disagreement(base, options)
    if wrong is not None:
        raise SpecError("dataset", text, f"{base} with {wrong}")
    found = DatasetName(base, options)
    if len(str(found)) > MOST_CHARACTERS:
        raise SpecError("dataset", text, f"a name of at most {MOST_CHARACTERS} characters")
    return found


_BARE_DIGEST = re.compile(r"\bdigest\s*=\s*(\w+)")
"""Hexadecimal digits, which without quotes are no literal."""


def _arguments(text: str, inside: str) -> Iterator[tuple[str, object]]:
    """The keywords of the brackets and their literals."""
    malformed = SpecError("dataset", text, "a name with options as name=value, values as literals")
    if len(inside) > 10 * MOST_CHARACTERS:
        raise malformed
    quoted = _BARE_DIGEST.sub(r"digest='\1'", inside)
    try:
        call = ast.parse(f"_({quoted})", mode="eval").body
        # The brackets may close before their end: what is left must be the one call and no more.
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)) or call.args:
            raise malformed
        names = [keyword.arg for keyword in call.keywords]
        if len(set(names)) < len(names):
            raise SpecError("dataset", text, "a name with every option once")
        for keyword in call.keywords:
            if keyword.arg is None:
                raise malformed
            yield keyword.arg, ast.literal_eval(keyword.value)
    except SpecError:
        raise
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise malformed from None


def _read(text: str, base: str, name: str, option: Option, given: dict[str, object]) -> Any:
    if name not in given:
        if option.default is ...:
            example = EXAMPLES.get(base, f"{base}(digest=0123456789abcdef)")
            expected = f"{base} with {name}, {option.expected.rstrip(',')}, as in {example}"
            raise SpecError("dataset", text, expected)
        return option.default
    try:
        return option.read(given[name])
    except (ValueError, TypeError, OverflowError):
        expected = f"{base} with {option.expected} for {name}"
        raise SpecError("dataset", text, expected) from None


def _disagreement(base: str, options: Mapping[str, Any]) -> str | None:
    """What would be right where the options do not fit each other; None where they do."""
    if base in ("regression", "classification") and options["informative"] > options["features"]:
        return f"informative of at most {options['features']}, its features"
    if "truth" in options:
        samples = (options["x"],) if base == "point" else options["x"]
        if len(samples[0]) != len(options["truth"]):
            return f"{len(samples[0])} numbers for truth, as many as a sample has"
        if options.get("y") is not None and len(options["y"]) != len(samples):
            return f"{len(samples)} numbers for y, one for each sample"
    return None


def _spelled(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_spelled(each) for each in value)}]"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return value if isinstance(value, str) else repr(value)
