"""Files of CIFAR-10's python version: pickles, read without running anything that they name.

A pickle is a program. Those of CIFAR-10 are all of one form: a dictionary of texts, of lists of
labels and file names, and of one array, which names two functions of numpy. The small machine here
follows that form and calls nothing; whatever else a file asks for is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jobs.datasets.images import Images
from jobs.datasets.source import DatasetError

SUFFIX = ""
PIXELS = 3 * 32 * 32


def most_images(path: Path) -> int:
    """How many images there may be, by the size of the file: each has 3,072 bytes and a name."""
    return path.stat().st_size // PIXELS


def read(path: Path, count: int) -> Images:
    """The first ``count`` images, by channel, row and column.

    Raises:
        DatasetError: the file is none of CIFAR-10's python version, or has fewer images.
    """
    try:
        content = _Machine(path).run()
        array, labels = content["data"], content["labels"]
        rows, features = array.shape
        data = np.frombuffer(array.content.encode("latin-1"), np.uint8)
        pixels = data.reshape(rows, features)
        classes = np.array(labels, dtype=np.int64)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        if isinstance(error, DatasetError):
            raise
        raise _refused(path, f"it is not of that form: {error}") from None
    if features != PIXELS or classes.shape != (rows,):
        raise _refused(path, f"it has {rows}×{features} bytes and {classes.size} labels")
    if rows < count:
        raise DatasetError(f"{path} has {rows} images; it must have {count}")
    return Images(pixels[:count], classes[:count])


def _refused(path: Path, why: str) -> DatasetError:
    return DatasetError(
        f"{path} must be a file of CIFAR-10's python version, and nothing else is read: {why}"
    )


@dataclass(frozen=True)
class _Named:
    """A function or class that the file names; never looked up."""

    name: str


@dataclass
class _Type:
    """The type of unsigned bytes, as numpy describes it."""


@dataclass
class _Array:
    """An array of bytes, each a character of ``content``."""

    shape: tuple[int, ...] = ()
    content: str = ""


_MARK = object()
_BYTE_TYPE = (3, "|", None, None, None, -1, -1, 0)


class _Machine:
    """The stack and the memo of a pickle that holds values only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """What the file holds.

        Raises:
            DatasetError: it asks for something else than values of the known form.
            ValueError: it is no pickle, or not whole.
        """
        with self._path.open("rb") as file:
            for operation, argument, _ in pickletools.genops(file):
                step = _STEPS.get(operation.name)
                if step is None:
                    raise _refused(self._path, f"it has the operation {operation.name}")
                step(self, argument)
        return self._stack.pop()

    def push(self, value: object) -> None:
        self._stack.append(value)

    def nothing(self, argument: object) -> None:
        pass

    def remember(self, place: int) -> None:
        self._memo[place] = self._stack[-1]

    def recall(self, place: int) -> None:
        self.push(self._memo[place])

    def name(self, argument: str) -> None:
        self.push(_Named(argument.replace(" ", ".")))

    def append(self, argument: object) -> None:
        value = self._stack.pop()
        self._list().append(value)

    def append_all(self, argument: object) -> None:
        values = self._since_mark()
        self._list().extend(values)

    def set_item(self, argument: object) -> None:
        key, value = self.last(2)
        self._dictionary()[key] = value

    def set_all(self, argument: object) -> None:
        values = self._since_mark()
        self._dictionary().update(zip(values[::2], values[1::2], strict=True))

    def tuple_since_mark(self, argument: object) -> None:
        self.push(tuple(self._since_mark()))

    def reduce(self, argument: object) -> None:
        """Stand-ins for the two calls of the known form."""
        function, arguments = self.last(2)
        if function == _Named("numpy.dtype") and arguments == ("u1", 0, 1):
            self.push(_Type())
        elif function == _Named("numpy.core.multiarray._reconstruct") and arguments == (
            _Named("numpy.ndarray"),
            (0,),
            "b",
        ):
            self.push(_Array())
        else:
            called = function.name if isinstance(function, _Named) else type(function).__name__
            raise _refused(self._path, f"it asks for a call of {called}")

    def build(self, argument: object) -> None:
        """Give a stand-in its state."""
        (state,) = self.last(1)
        target = self._stack[-1]
        if isinstance(target, _Type) and state == _BYTE_TYPE:
            return
        if isinstance(target, _Array):
            version, shape, kind, by_columns, content = state
            if version == 1 and isinstance(kind, _Type) and not by_columns:
                target.shape, target.content = shape, content
                return
        raise _refused(self._path, f"it gives a state to {type(target).__name__.strip('_')}")

    def last(self, count: int) -> list[Any]:
        values = self._stack[-count:]
        del self._stack[-count:]
        if len(values) < count or _MARK in values:
            raise ValueError("a value is missing")
        return values

    def _since_mark(self) -> list[Any]:
        place = max(place for place, value in enumerate(self._stack) if value is _MARK)
        values = self._stack[place + 1 :]
        del self._stack[place:]
        return values

    def _list(self) -> list[Any]:
        if type(self._stack[-1]) is not list:
            raise ValueError("a list is missing")
        return self._stack[-1]

    def _dictionary(self) -> dict[Any, Any]:
        if type(self._stack[-1]) is not dict:
            raise ValueError("a dictionary is missing")
        return self._stack[-1]


def _push(value: object) -> Callable[[_Machine, Any], None]:
    return lambda machine, argument: machine.push(value)


def _tuple(count: int) -> Callable[[_Machine, Any], None]:
    return lambda machine, argument: machine.push(tuple(machine.last(count)))


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.nothing,
    "STOP": _Machine.nothing,
    "MARK": _push(_MARK),
    "NONE": _push(None),
    "NEWTRUE": _push(True),
    "NEWFALSE": _push(False),
    **dict.fromkeys(
        ("BININT", "BININT1", "BININT2", "SHORT_BINSTRING", "BINSTRING", "BINUNICODE"),
        _Machine.push,
    ),
    "EMPTY_DICT": lambda machine, argument: machine.push({}),
    "EMPTY_LIST": lambda machine, argument: machine.push([]),
    "EMPTY_TUPLE": _push(()),
    "TUPLE": _Machine.tuple_since_mark,
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "BINPUT": _Machine.remember,
    "LONG_BINPUT": _Machine.remember,
    "BINGET": _Machine.recall,
    "LONG_BINGET": _Machine.recall,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.append_all,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_all,
    "GLOBAL": _Machine.name,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
}
