"""Files of CIFAR-10's python version: pickles, read without running anything that they name.

A pickle is a program. Those of CIFAR-10 are all of one form: a dictionary of texts, of lists of
labels and file names, and of one array, which names two functions of numpy. The small machine here
follows that form and calls nothing; whatever else a file asks for is refused. The memory and time
that it needs are at most proportional to the size of the file, which is bounded.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.datasets.images import Images
from jobs.datasets.source import DatasetError

SUFFIX = ""
PIXELS = 3 * 32 * 32
LARGEST = 2 * 10_000 * PIXELS
"""Bytes of a file; the official ones of 10,000 images have about half as many."""
LONGEST_REASON = 200


def most_images(path: Path) -> int:
    """How many images there may be, by the size of the file: each has 3,072 bytes and a name."""
    return path.stat().st_size // PIXELS


def read(path: Path, count: int) -> Images:
    """The first ``count`` images, by channel, row and column.

    Raises:
        DatasetError: the file is none of CIFAR-10's python version, or has fewer images.
    """
    try:
        content = _Machine(path, _content(path)).run()
        array, labels = content["data"], content["labels"]
        rows, features = array.shape
        data = np.frombuffer(array.content.encode("latin-1"), np.uint8)
        pixels = data.reshape(rows, features)
        classes = _classes(labels, most_images(path))
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        if isinstance(error, DatasetError):
            raise
        raise _refused(path, f"it is not of that form: {error}") from None
    if features != PIXELS or classes.shape != (rows,):
        raise _refused(path, f"it has {rows}×{features} bytes and {classes.size} labels")
    if rows < count:
        raise DatasetError(f"{path} has {rows} images; it must have {count}")
    return Images(pixels[:count], classes[:count])


def _content(path: Path) -> bytes:
    """The whole file: what it says of lengths is then bounded by what there is."""
    size = path.stat().st_size
    if size > LARGEST:
        raise _refused(path, f"it has {size} bytes, more than {LARGEST}")
    return path.read_bytes()


def _classes(labels: object, most: int) -> NDArray[np.int64]:
    """A plain list of numbers; one of lists that are named again and again could be of any size."""
    if type(labels) is not list or len(labels) > most:
        raise ValueError(f"its labels must be a list of at most {most}")
    if any(type(label) is not int for label in labels):
        raise ValueError("its labels must be whole numbers")
    return np.array(labels, dtype=np.int64)


def _refused(path: Path, why: str) -> DatasetError:
    why = why if len(why) <= LONGEST_REASON else f"{why[:LONGEST_REASON]}..."
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


FEWEST_STEPS, STEPS_PER_IMAGE = 1_000, 10
"""Operations that a file may have, each of which makes a value; official ones have 3 an image."""
_MARK = object()
_BYTE_TYPE = (3, "|", None, None, None, -1, -1, 0)


class _Machine:
    """The stack and the memo of a pickle that holds values only."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path, self._content = path, content
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """What the file holds.

        Raises:
            DatasetError: it asks for something else than values of the known form.
            ValueError: it is no pickle, or not whole.
        """
        most = FEWEST_STEPS + STEPS_PER_IMAGE * (len(self._content) // PIXELS)
        for count, (operation, argument, _) in enumerate(pickletools.genops(self._content)):
            step = _STEPS.get(operation.name)
            if step is None:
                raise _refused(self._path, f"it has the operation {operation.name}")
            if count == most:
                raise _refused(self._path, f"it has more than {most} operations")
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
        self._set([key], [value])

    def set_all(self, argument: object) -> None:
        values = self._since_mark()
        self._set(values[::2], values[1::2])

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
        values: list[Any] = []
        while (value := self._stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def _list(self) -> list[Any]:
        if type(self._stack[-1]) is not list:
            raise ValueError("a list is missing")
        return self._stack[-1]

    def _set(self, keys: list[Any], values: list[Any]) -> None:
        if type(self._stack[-1]) is not dict:
            raise ValueError("a dictionary is missing")
        if any(type(key) is not str for key in keys):  # others can take for ever to be hashed
            raise ValueError("a key is no text")
        self._stack[-1].update(zip(keys, values, strict=True))


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
