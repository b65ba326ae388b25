"""Files of CIFAR-10's python version: pickles, read without running anything that they name.

A pickle is a program. Those of CIFAR-10 are all of one form: a dictionary of texts, of lists of
labels and file names, and of one array, which names two functions of numpy. The small machine here
follows that form and calls nothing; whatever else a file asks for is refused. The memory and time
that it needs are at most proportional to the size of the file, which is bounded. (A restricted
``pickle.Unpickler`` calls nothing either, but a short file can make it hash nested tuples for ever,
or allocate a memo of 2³² places.)
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.datasets.images import Images
from jobs.datasets.source import DatasetError

PIXELS = 3 * 32 * 32
LARGEST = 2 * 10_000 * PIXELS
"""Bytes of a file; the official ones of 10,000 images have about half as many."""
LONGEST_REASON = 200
FEWEST_STEPS, STEPS_PER_IMAGE = 1_000, 10
"""Operations that a file may have, each of which makes a value; official ones have 3 an image."""


def most_images(path: Path) -> int:
    """How many images there may be, by the size of the file: each has 3,072 bytes and a name."""
    return path.stat().st_size // PIXELS


def read(path: Path, count: int) -> Images:
    """The first ``count`` images, by channel, row and column.

    Raises:
        DatasetError: the file is none of CIFAR-10's python version, or has fewer images.
    """
    size = path.stat().st_size
    if size > LARGEST:  # what a file says of lengths is bounded by what there is
        raise _refused(path, f"it has {size} bytes, more than {LARGEST}")
    try:
        content = _value_of(path.read_bytes())
        array, labels = content["data"], content["labels"]
        rows, features = array.shape
        data = np.frombuffer(array.content.encode("latin-1"), np.uint8)
        pixels = data.reshape(rows, features)
        classes = _classes(labels, most_images(path))
    except _RefusedError as error:
        raise _refused(path, str(error)) from None
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise _refused(path, f"it is not of that form: {error}") from None
    if features != PIXELS or classes.shape != (rows,):
        raise _refused(path, f"it has {rows}×{features} bytes and {classes.size} labels")
    if rows < count:
        raise DatasetError(f"{path} has {rows} images; it must have {count}")
    return Images(pixels[:count], classes[:count])


def _classes(labels: object, most: int) -> NDArray[np.int64]:
    """A plain list of numbers; nested lists that share their items could be of any size."""
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


class _RefusedError(Exception):
    """A file that asks for something else than values of the known form; says for what."""


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


def _value_of(content: bytes) -> Any:
    """The value of a pickle that only makes values.

    Raises:
        _RefusedError: it asks for something else than values of the known form.
        ValueError, LookupError: it is no pickle, or not whole.
    """
    most = FEWEST_STEPS + STEPS_PER_IMAGE * (len(content) // PIXELS)
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    argument: Any
    for count, (operation, argument, _) in enumerate(pickletools.genops(content)):
        if count == most:
            raise _RefusedError(f"it has more than {most} operations")
        match operation.name:
            case "PROTO" | "STOP":
                pass
            case "MARK":
                stack.append(_MARK)
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(operation.name == "NEWTRUE")
            case "BININT" | "BININT1" | "BININT2" | "SHORT_BINSTRING" | "BINSTRING" | "BINUNICODE":
                stack.append(argument)
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE":
                stack.append(tuple(_since_mark(stack)))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(_last(stack, int(operation.name[-1]))))
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "APPEND" | "APPENDS":
                values = _last(stack, 1) if operation.name == "APPEND" else _since_mark(stack)
                _extend(stack[-1], values)
            case "SETITEM" | "SETITEMS":
                values = _last(stack, 2) if operation.name == "SETITEM" else _since_mark(stack)
                _update(stack[-1], values)
            case "GLOBAL":
                stack.append(_Named(argument.replace(" ", ".")))
            case "REDUCE":
                stack.append(_stand_in(*_last(stack, 2)))
            case "BUILD":
                (state,) = _last(stack, 1)
                _set_state(stack[-1], state)
            case unknown:
                raise _RefusedError(f"it has the operation {unknown}")
    return stack.pop()


def _last(stack: list[Any], count: int) -> list[Any]:
    values = stack[-count:]
    del stack[-count:]
    if len(values) < count or _MARK in values:
        raise ValueError("a value is missing")
    return values


def _since_mark(stack: list[Any]) -> list[Any]:
    values: list[Any] = []
    while (value := stack.pop()) is not _MARK:
        values.append(value)
    return values[::-1]


def _extend(target: object, values: list[Any]) -> None:
    if type(target) is not list:
        raise ValueError("a list is missing")
    target.extend(values)


def _update(target: object, values: list[Any]) -> None:
    if type(target) is not dict:
        raise ValueError("a dictionary is missing")
    keys = values[::2]
    if any(type(key) is not str for key in keys):  # others can take for ever to be hashed
        raise ValueError("a key is no text")
    target.update(zip(keys, values[1::2], strict=True))


def _stand_in(function: object, arguments: object) -> _Type | _Array:
    """A stand-in for the result of one of the two calls of the known form."""
    if function == _Named("numpy.dtype") and arguments == ("u1", 0, 1):
        return _Type()
    if function == _Named("numpy.core.multiarray._reconstruct") and arguments == (
        _Named("numpy.ndarray"),
        (0,),
        "b",
    ):
        return _Array()
    called = function.name if isinstance(function, _Named) else type(function).__name__
    raise _RefusedError(f"it asks for a call of {called}")


def _set_state(target: object, state: Any) -> None:
    if isinstance(target, _Type) and state == _BYTE_TYPE:
        return
    if isinstance(target, _Array):
        version, shape, kind, by_columns, content = state
        if version == 1 and isinstance(kind, _Type) and not by_columns:
            target.shape, target.content = shape, content
            return
    raise _RefusedError(f"it gives a state to {type(target).__name__.strip('_')}")
