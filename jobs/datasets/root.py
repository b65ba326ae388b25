"""Where datasets lie that are read from files."""

from __future__ import annotations

import os
from pathlib import Path

from jobs.datasets.source import DatasetError

VARIABLE = "EOS_DATA"
USUAL = "~/.cache/eos-sweep/data"
RULE = f"the folder that {VARIABLE} names, else {USUAL}"


def data_root() -> Path:
    """The folder that the environment variable EOS_DATA names, else ~/.cache/eos-sweep/data.

    Raises:
        DatasetError: EOS_DATA is no absolute path, so it would mean another folder elsewhere.
    """
    path = Path(os.environ.get(VARIABLE) or USUAL).expanduser()
    if not path.is_absolute():
        raise DatasetError(f"{VARIABLE} is {str(path)!r}; it must be an absolute path")
    return path


def missing(dataset: str, path: Path) -> DatasetError:
    """The error of a file or folder that a dataset needs."""
    return DatasetError(
        f"dataset {dataset} is not there: {path} is missing (data lies in {RULE}); {get(dataset)}"
    )


def get(dataset: str) -> str:
    """How to get a dataset, for errors."""
    return f"on a machine with internet, such as a login node, run: eos data fetch {dataset}"
