"""Data of the user's own: four arrays, named by their content, ``FILE(digest=…)``.

The arrays are ``x_train``, ``y_train``, ``x_test`` and ``y_test``, from whichever file; a run
directory keeps them in one, which :func:`write` makes. Where a process finds them by their digest
is told to :func:`register`, or to :func:`named`, which gives the name for a ``Problem``.

Whole numbers as labels are classes, numbered from 0; others are numbers to be fitted, one or more
for each sample. Inputs have one, two or three dimensions besides the samples: features, the rows
and columns of an image, or its channels, rows and columns.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from jobs.datasets.images import check_balanced, once, rows
from jobs.datasets.source import Dataset, DatasetError, Samples, Shape, Source, digest_of_arrays
from jobs.spec.dataset_name import DatasetName

NAMES = ("x_train", "y_train", "x_test", "y_test")

MOST_CLASSES = 10_000
"""As many outputs as networks of this package have been tried with; a label beyond is an error."""

DIGITS = 12
"""Significant digits of means and deviations: further ones would depend on the machine."""

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Arrays:
    """Inputs, float64 of shape (samples, features), and labels: int64 of shape (samples,), or
    float64 of shape (samples, outputs). ``shape`` says what they are.
    """

    shape: Shape
    x_train: NDArray[np.float64]
    y_train: Array
    x_test: NDArray[np.float64]
    y_test: Array

    @property
    def digest(self) -> str:
        """That of the four, and of the shape of a sample."""
        form = np.array(self.shape.input, np.int64)
        return digest_of_arrays(form, self.x_train, self.y_train, self.x_test, self.y_test)


def arrays_of(given: Mapping[str, Any], called: str) -> Arrays:
    """The arrays of a dataset from what its user gives under :data:`NAMES`.

    ``called`` is what messages call the dataset.

    Raises:
        DatasetError: an array is missing, or is none of numbers, or they do not fit each other.
    """
    missing = [name for name in NAMES if name not in given]
    if missing:
        raise DatasetError(
            f"dataset {called} has no {' and no '.join(missing)}; it must have the arrays "
            f"{', '.join(NAMES)}"
        )
    found = {name: _numbers(given[name], name, called) for name in NAMES}
    for part in ("train", "test"):
        inputs, labels = found[f"x_{part}"], found[f"y_{part}"]
        if len(inputs) != len(labels):
            raise DatasetError(
                f"dataset {called} has {len(inputs)} samples in x_{part} and {len(labels)} in "
                f"y_{part}; there must be as many"
            )
    one, other = found["x_train"].shape[1:], found["x_test"].shape[1:]
    if one != other:
        raise DatasetError(
            f"dataset {called} has samples of shape {one} in x_train and {other} in x_test; they "
            "must have one shape"
        )
    if not 1 <= len(one) <= 3 or 0 in one:
        raise DatasetError(
            f"dataset {called} has inputs of shape {found['x_train'].shape}; it must be (samples, "
            "features), (samples, height, width) or (samples, channels, height, width)"
        )
    kind, outputs = _labels(found["y_train"], found["y_test"], called)
    shape = Shape((1, *one) if len(one) == 2 else tuple(one), outputs, kind)
    x_train, x_test = (
        np.ascontiguousarray(found[name].reshape(len(found[name]), -1), np.float64)
        for name in ("x_train", "x_test")
    )
    y_train, y_test = (
        found[name].astype(np.int64)
        if kind == "classes"
        else np.ascontiguousarray(found[name].reshape(-1, outputs), np.float64)
        for name in ("y_train", "y_test")
    )
    return Arrays(shape, x_train, y_train, x_test, y_test)


def _numbers(value: Any, name: str, called: str) -> Array:
    """An array of finite numbers with at least one sample."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    found = np.asarray(value)
    if found.dtype.kind not in "iuf" or found.ndim == 0:
        kind = "no array" if found.ndim == 0 else f"of {found.dtype}"
        raise DatasetError(f"dataset {called} has {name} that is {kind}; it must be of numbers")
    if len(found) == 0:
        raise DatasetError(f"dataset {called} has no sample in {name}; it must have at least one")
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        bad = np.argwhere(~np.isfinite(found))[0]
        raise DatasetError(
            f"dataset {called} has {found[tuple(bad)]} in {name}, in sample {int(bad[0])}; all "
            "numbers must be finite"
        )
    return found


def _labels(
    train: Array, test: Array, called: str
) -> tuple[Literal["classes", "numbers", "signs"], int]:
    """What the labels are, and how many outputs they need."""
    whole = [labels.dtype.kind in "iu" for labels in (train, test)]
    if whole[0] != whole[1]:
        raise DatasetError(
            f"dataset {called} has labels of {train.dtype} in y_train and of {test.dtype} in "
            "y_test; both must be whole numbers, which are classes, or both floating-point ones"
        )
    if not whole[0]:
        if train.ndim > 2 or train.shape[1:] != test.shape[1:]:
            raise DatasetError(
                f"dataset {called} has labels of shape {train.shape} in y_train and {test.shape} "
                "in y_test; they must be (samples,) or (samples, outputs), with equally many"
            )
        outputs = 1 if train.ndim == 1 else train.shape[1]
        of_one = outputs == 1 and all(np.isin(each, (-1, 1)).all() for each in (train, test))
        return "signs" if of_one else "numbers", outputs
    for name, labels in (("y_train", train), ("y_test", test)):
        if labels.ndim != 1:
            raise DatasetError(
                f"dataset {called} has classes of shape {labels.shape} in {name}; they must be "
                "(samples,)"
            )
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= MOST_CLASSES:
            raise DatasetError(
                f"dataset {called} has the class {low if low < 0 else high} in {name}; classes "
                f"must be whole numbers from 0 to {MOST_CLASSES - 1}"
            )
    counts = np.bincount(train)
    if (absent := np.flatnonzero(counts == 0)).size or len(counts) < 2:
        number = int(absent[0]) if absent.size else 1
        raise DatasetError(
            f"dataset {called} has no sample of class {number} in y_train; classes must be "
            "numbered from 0 without a gap, and there must be two at least"
        )
    if int(test.max()) >= len(counts):
        raise DatasetError(
            f"dataset {called} has the class {int(test.max())} in y_test; it must be one of those "
            f"of y_train, 0 to {len(counts) - 1}"
        )
    return "classes", len(counts)


def named(arrays: Mapping[str, Any], file: str = "mydata.npz") -> str:
    """The ``dataset`` of a problem with these arrays, which this process knows from now on.

    >>> import numpy as np
    >>> x, y = np.eye(4), np.array([0, 1, 0, 1])
    >>> named({"x_train": x, "y_train": y, "x_test": x, "y_test": y})
    'mydata.npz(digest=...)'

    Args:
        arrays: the four arrays by :data:`NAMES`, of NumPy's or torch's.
        file: what the data are called: the name of a file.

    Raises:
        DatasetError: as in :func:`arrays_of`.
    """
    found = arrays_of(arrays, file)
    digest = found.digest
    register(digest, found)
    return str(DatasetName(file, {"digest": digest}))


_known: dict[str, Arrays | Path] = {}


def register(digest: str, where: Arrays | Path) -> None:
    """Tell this process where the data of a digest are: here, or in a file of :func:`write`."""
    _known[digest] = where


def registered(digest: str) -> Arrays | Path | None:
    """What :func:`register` was told of a digest."""
    return _known.get(digest)


def write(path: Path, arrays: Arrays) -> None:
    """Write the arrays to a file; whether it is written whole is the caller's care."""
    shape = arrays.shape
    about = {"input": shape.input, "kind": shape.kind, "outputs": shape.outputs}
    tensors = {name: np.ascontiguousarray(getattr(arrays, name)) for name in NAMES}
    save_file(tensors, path, metadata={"eos": json.dumps(about)})


def read(path: Path) -> Arrays:
    """The arrays of a file that :func:`write` made.

    Raises:
        OSError, DatasetError: it cannot be read, or is no such file.
    """
    with _opened(path) as file:
        return Arrays(_shape_in(file, path), *(file.get_tensor(name) for name in NAMES))


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, "np")
    except SafetensorError as error:
        raise DatasetError(f"{path} is damaged: {error}; it must be as it was written") from None


def _shape_in(file: Any, path: Path) -> Shape:
    try:
        about = json.loads(file.metadata()["eos"])
        return Shape(tuple(about["input"]), about["outputs"], about["kind"])
    except (KeyError, TypeError, ValueError):
        raise DatasetError(f"{path} is no file that a run directory keeps of own data") from None


class OwnData(Source):
    """Data of a digest that was registered in this process.

    Raises:
        DatasetError: none was.
    """

    def __init__(self, name: DatasetName) -> None:
        self.name, self.digest = str(name), name.options["digest"]
        if self.digest not in _known:
            raise DatasetError(
                f"dataset {self.name} is not known in this process; it must be named in a sweep "
                "file by a file with these numbers, or be registered with jobs.datasets.own"
            )
        self._where = _known[self.digest]
        if isinstance(self._where, Arrays):
            self.shape = self._where.shape
            self.pool, self.tested = len(self._where.x_train), len(self._where.x_test)
        else:
            with _opened(self._where) as file:
                self.shape = _shape_in(file, self._where)
                self.pool, self.tested = (
                    file.get_slice(each).get_shape()[0] for each in ("x_train", "x_test")
                )

    @property
    def where(self) -> str:
        """The file, or its digest where the data are in memory."""
        return str(self._where) if isinstance(self._where, Path) else f"memory {self.digest}"

    def check_there(self) -> None:
        """It was there when this was made."""

    def check_content(self) -> None:
        """Make sure that the file has the numbers of the digest; it is read once in a process."""
        if not isinstance(self._where, Path):
            return
        found = once([self._where], ("own", self.digest), lambda: self._arrays().digest)
        if found != self.digest:
            raise DatasetError(
                f"dataset {self.name} is not what lies in {self._where}, whose digest is {found}; "
                f"it must be {self.digest}: the file was changed"
            )

    def check_part(self, n_train: int, subset: str, normalization: str) -> None:
        """Make sure that there are such a subset, and channels to be normalised."""
        if subset == "balanced":
            if self.shape.kind != "classes":
                raise DatasetError(
                    f"subset is 'balanced'; it must be first or seeded-K for dataset {self.name}, "
                    "whose labels are no classes"
                )
            check_balanced(n_train, self.shape.outputs, lambda: self._arrays().y_train)
        if normalization == "channel" and len(self.shape.input) != 3:
            raise DatasetError(
                f"normalization is 'channel'; it must be scalar, feature or none for dataset "
                f"{self.name}, whose samples are no images"
            )

    def load(self, n_train: int, subset: str, normalization: str) -> Dataset:
        """A subset of the training samples, and all test samples, standardised by the former."""
        arrays = self._arrays()
        chosen = rows(subset, n_train, arrays.y_train, self.shape.outputs)
        mean, deviation = self._moments(arrays.x_train, normalization)
        train = Samples((arrays.x_train[chosen] - mean) / deviation, arrays.y_train[chosen])
        test = Samples((arrays.x_test - mean) / deviation, arrays.y_test)
        digest = digest_of_arrays(train.inputs, train.labels, test.inputs, test.labels)
        return Dataset(train, test, digest)

    def _arrays(self) -> Arrays:
        return self._where if isinstance(self._where, Arrays) else read(self._where)

    def _moments(self, pool: NDArray[np.float64], normalization: str) -> tuple[Array, Array]:
        """Mean and deviation of each feature, over all training samples."""
        features = pool.shape[1]
        if normalization == "none":
            return np.zeros(features), np.ones(features)
        groups = {"scalar": 1, "channel": self.shape.input[0], "feature": features}[normalization]
        grouped = pool.reshape(len(pool), groups, -1)
        mean = _rounded(grouped.mean(axis=(0, 2)))
        deviation = _rounded(np.sqrt(np.square(grouped - mean[:, None]).mean(axis=(0, 2))))
        # Of a constant, the rounding of its mean is left.
        deviation[deviation <= 10.0 ** (1 - DIGITS) * np.abs(mean)] = 1.0
        width = features // groups
        return np.repeat(mean, width), np.repeat(deviation, width)


def _rounded(values: Array) -> Array:
    return np.array([float(f"{value:.{DIGITS - 1}e}") for value in values.tolist()])
