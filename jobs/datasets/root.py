"""Where datasets lie that are read from files."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.datasets.source import DatasetError

VARIABLE = "EOS_DATA"
DEFAULT = "~/.cache/eos-sweep/data"
RULE = f"the folder that {VARIABLE} names, else {DEFAULT}"


def data_root() -> Path:
    """The folder that the environment variable EOS_DATA names, else ~/.cache/eos-sweep/data.

    Raises:
        DatasetError: EOS_DATA is no absolute path, so it would mean another folder elsewhere; or
            it begins with the home directory of a user who has none.
    """
    named = os.environ.get(VARIABLE) or DEFAULT
    try:
        path = Path(named).expanduser()
    except RuntimeError:
        raise DatasetError(
            f"{named_root(named)}, and there is no such home directory; {VARIABLE} must be an "
            "absolute path"
        ) from None
    if not path.is_absolute():
        raise DatasetError(f"{named_root(path)}; it must be an absolute path")
    return path


def named_root(root: Path | str) -> str:
    """How errors name the data root and its value."""
    if os.environ.get(VARIABLE):
        return f"{VARIABLE} is {str(root)!r}"
    return f"{VARIABLE} is not set, which stands for {str(root)!r}"


@contextmanager
def reading(dataset: str) -> Iterator[None]:
    """Let what the system refuses while a dataset is checked or read name the data root.

    Raises:
        DatasetError: the system refused something.
    """
    try:
        yield
    except OSError as error:
        raise DatasetError(
            f"{named_root(data_root())}; it must be a folder whose files this user may read, for "
            f"dataset {dataset}: {error}"
        ) from error


def missing(dataset: str, path: Path) -> DatasetError:
    """The error of a file or folder that a dataset needs."""
    return DatasetError(
        f"dataset {dataset} is not there: {path} is missing (data lies in {RULE}); {get(dataset)}"
    )


def get(dataset: str) -> str:
    """How to get a dataset, for errors."""
    return (
        "on a machine with internet, such as a login node, run: "
        f"{here()}{program()} data fetch {dataset}"
    )


def program() -> str:
    """How the user called ``eos``, for commands to try next."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "eos" else "eos"


def here() -> str:
    """What stands before a command that is to use this data root in any shell; often nothing."""
    return f"{VARIABLE}={shlex.quote(str(data_root()))} " if os.environ.get(VARIABLE) else ""
