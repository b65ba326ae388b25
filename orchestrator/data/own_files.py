"""Data of the user's own as they lie in files: NumPy archives, safetensors, tables, Python.

A dataset in a sweep file names such a file:

- ``mydata.npz`` and ``mydata.safetensors`` have the arrays of :data:`jobs.datasets.own.NAMES`;
- ``table.parquet(inputs=[a, b], target=y)`` has a sample in each row, and ``target`` may be a list.
  The column ``split``, or the one that ``split=…`` names, says ``train`` or ``test``;
- ``mydata.py:load`` has a function without arguments that returns the four arrays, of NumPy's or
  torch's, in a tuple or by name in a mapping.
"""

from __future__ import annotations

import ast
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from jobs.datasets import DatasetError
from jobs.datasets.own import NAMES, Arrays, arrays_of

_NAMED = re.compile(
    r"(?P<file>[^()]+?\.(?P<kind>npz|safetensors|parquet|py))"
    r"(:(?P<function>[A-Za-z_][A-Za-z0-9_]*))?\s*(\((?P<options>.*)\))?",
    re.DOTALL,
)

TABLE_OPTIONS = ("inputs", "target", "split")
SPLIT = "split"
"""The column of a table that says which rows are for training, unless another is named."""

SEED = 0x656F73
"""At which PyTorch's generator is started while a user's function runs."""


@dataclass(frozen=True)
class OwnFile:
    """A file as a sweep file names it.

    Attributes:
        file: its path.
        kind: the end of its name.
        function: in a file of Python, what returns the arrays.
        options: of a table, its columns; and ``digest``, where the name has one.
    """

    file: str
    kind: str
    function: str | None
    options: Mapping[str, str | list[str]]

    @property
    def base(self) -> str:
        """The file without its folder, with the function."""
        name = Path(self.file).name
        return name if self.function is None else f"{name}:{self.function}"

    @property
    def digest(self) -> str | None:
        """The digest that the name has."""
        digest = self.options.get("digest")
        return digest if isinstance(digest, str) else None


def own_file(name: str) -> OwnFile | None:
    """The file that a dataset's name in a sweep file stands for; None where it stands for none.

    Raises:
        DatasetError: it stands for one, and says something else that is wrong.
    """
    found = _NAMED.fullmatch(name.strip())
    if found is None or (found["kind"] == "py") != (found["function"] is not None):
        return None
    own = OwnFile(found["file"], found["kind"], found["function"], _options(name, found["options"]))
    known = TABLE_OPTIONS if own.kind == "parquet" else ()
    for option in own.options:
        if option not in (*known, "digest"):
            has = f"the options {', '.join(known)}" if known else "no options"
            raise DatasetError(f"dataset is {name!r}; it must be without {option}: it has {has}")
    return own


def _options(name: str, inside: str | None) -> dict[str, str | list[str]]:
    """Options as ``name=value``, their values columns or lists of these, with quotes or without."""
    if not inside:
        return {}
    quoted = re.sub(r"\bdigest\s*=\s*(\w+)", r"digest='\1'", inside)
    try:
        call = ast.parse(f"_({quoted})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError
        found = {each.arg: _column(each.value) for each in call.keywords}
        if None in found or len(found) < len(call.keywords):
            raise ValueError
        return {str(option): value for option, value in found.items()}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise DatasetError(
            f"dataset is {name!r}; its options must be columns, or lists of columns, as in "
            "table.parquet(inputs=[a, b], target=y)"
        ) from None


def _column(value: ast.expr) -> str | Any:
    match value:
        case ast.Name(id=name):
            return name
        case ast.Constant(value=str() as name):
            return name
        case ast.List(elts=[_, *_] as columns):
            return [_column(each) for each in columns]
    raise ValueError


def read_own(own: OwnFile, path: Path) -> Arrays:
    """The arrays of a file.

    Raises:
        DatasetError: it cannot be read, or does not have what it must have.
    """
    reads = {"npz": _archive, "safetensors": _safetensors, "parquet": _table, "py": _returned}
    try:
        given = reads[own.kind](own, path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, SafetensorError) as error:
        if isinstance(error, DatasetError):
            raise
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0] or "it is cut"
        raise DatasetError(
            f"dataset is {own.base!r}; {path} must be a readable {own.kind} file: {reason}"
        ) from None
    return arrays_of(given, own.base)


def _archive(own: OwnFile, path: Path) -> dict[str, Any]:
    archive = np.load(path, allow_pickle=False)
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise ValueError("it holds one array")
    with archive:
        return {name: archive[name] for name in NAMES if name in archive}


def _safetensors(own: OwnFile, path: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return dict(load_file(path))


def _table(own: OwnFile, path: Path) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for option in ("inputs", "target"):
        if option not in own.options:
            raise DatasetError(
                f"dataset is {own.base!r} without {option}; it must name its columns, as in "
                f"{own.base}(inputs=[a, b], target=y)"
            )
    inputs, target = own.options["inputs"], own.options["target"]
    split = str(own.options.get("split", SPLIT))
    inputs = [inputs] if isinstance(inputs, str) else inputs
    targets = [target] if isinstance(target, str) else target
    known = pq.read_schema(path).names
    for column in (*inputs, *targets, split):
        if column not in known:
            raise DatasetError(
                f"dataset is {own.base!r} with the column {column!r}; it must be one of "
                f"{', '.join(known)}"
            )
    rows = pq.read_table(path, columns=list(dict.fromkeys([*inputs, *targets, split])))
    parts = np.array(rows.column(split).to_pylist(), dtype=object)
    wrong = [part for part in dict.fromkeys(parts.tolist()) if part not in ("train", "test")]
    if wrong:
        raise DatasetError(
            f"dataset is {own.base!r} with {wrong[0]!r} in column {split!r}; it must be train or "
            "test in each row"
        )

    def numbers(column: str) -> Any:
        values = rows.column(column)
        if values.null_count or not (
            pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
        ):
            kind = f"{values.null_count} empty cells" if values.null_count else str(values.type)
            raise DatasetError(
                f"dataset is {own.base!r} with column {column!r} of {kind}; it must have a number "
                "in each row"
            )
        return values.to_numpy()

    x = np.stack([numbers(column).astype(np.float64) for column in inputs], axis=1)
    of_targets = [numbers(column) for column in targets]
    y = of_targets[0] if isinstance(target, str) else np.stack(of_targets, axis=1)
    found: dict[str, Any] = {}
    for part in ("train", "test"):
        found |= {f"x_{part}": x[parts == part], f"y_{part}": y[parts == part]}
    return found


def _returned(own: OwnFile, path: Path) -> dict[str, Any]:
    from jobs.models.seeding import seeded
    from jobs.models.user_code import executed, user_code
    from jobs.network_requirements import NetworkError

    assert own.function is not None
    source = path.read_bytes()
    try:
        with seeded(SEED), user_code(f"{own.base} failed"):
            function = getattr(executed(source, path, "_eos_own_data"), own.function, None)
            found = function() if callable(function) else None
    except NetworkError as error:
        raise DatasetError(f"dataset is {own.base!r}: {error}") from error.__cause__
    if isinstance(found, Mapping):
        return dict(found)
    if not isinstance(found, (tuple, list)) or len(found) != len(NAMES):
        what = "there is no such function" if not callable(function) else "it returned otherwise"
        raise DatasetError(
            f"dataset is {own.base!r}; {path.name} must have a function {own.function} that "
            f"returns the arrays {', '.join(NAMES)} ({what})"
        )
    return dict(zip(NAMES, found, strict=True))
