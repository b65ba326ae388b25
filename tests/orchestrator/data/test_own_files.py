"""Files with data of the user's own: what each kind must have, and what is said of wrong ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from jobs.datasets import DatasetError
from orchestrator.data.own_files import own_file, read_own

X = np.arange(24.0).reshape(8, 3)
Y = np.array([0, 1] * 4)
ARRAYS = {"x_train": X[:6], "y_train": Y[:6], "x_test": X[6:], "y_test": Y[6:]}

SOURCE = """
import numpy as np
import torch
X = np.arange(24.0).reshape(8, 3)
Y = np.array([0, 1] * 4)
def load():
    print("loading")
    return torch.tensor(X[:6]), Y[:6], X[6:], torch.tensor(Y[6:])
def by_name():
    return {"x_train": X[:6], "y_train": Y[:6], "x_test": X[6:], "y_test": Y[6:]}
def three():
    return X, Y, X
def raising():
    raise RuntimeError("no internet")
def ending():
    raise SystemExit(3)
value = 7
"""


@pytest.fixture
def folder(tmp_path):
    np.savez(tmp_path / "d.npz", **ARRAYS)
    save_file(ARRAYS, tmp_path / "d.safetensors")
    table = pd.DataFrame(X, columns=["a", "b", "c d"])
    table["y"], table["z"], table["word"] = Y, X[:, 0] / 2, "w"
    table["split"] = table["part"] = ["train"] * 6 + ["test"] * 2
    table["gap"] = np.where(np.arange(8) == 3, np.nan, 1.0)
    table["hole"] = pd.array([1, None, 3, 4, 5, 6, 7, 8], dtype="Int64")
    table.to_parquet(tmp_path / "d.parquet")
    (tmp_path / "d.py").write_text(SOURCE)
    return tmp_path


def arrays(name, folder):
    own = own_file(name)
    return read_own(own, folder / own.file)


@pytest.mark.parametrize(
    "name",
    [
        "d.npz",
        "d.safetensors",
        "d.parquet(inputs=[a, b, 'c d'], target=y)",
        'd.parquet(inputs=["a", "b", "c d"], target="y", split=part)',
        "d.py:load",
        "d.py:by_name",
    ],
)
def test_the_same_numbers_in_any_file_are_the_same_data(name, folder, capsys):
    found, plain = arrays(name, folder), arrays("d.npz", folder)
    assert found.digest == plain.digest
    assert np.array_equal(found.x_train, X[:6])
    assert np.array_equal(found.y_test, Y[6:])
    assert capsys.readouterr().out == ""  # what the user's code prints is no answer of ours


def test_several_targets_are_several_outputs(folder):
    found = arrays("d.parquet(inputs=a, target=[z, gap], split=part)".replace("gap", "b"), folder)
    assert (found.shape.input, found.shape.outputs, found.shape.kind) == ((1,), 2, "numbers")
    assert np.array_equal(found.y_train, np.stack([X[:6, 0] / 2, X[:6, 1]], axis=1))


@pytest.mark.parametrize(
    "name", ["mnist", "digits", "mnist(train=300)", "d.csv", "d.py", "d.npz:f"]
)
def test_other_names_are_no_files(name):
    assert own_file(name) is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("d.npz(inputs=a)", "it must be without inputs: it has no options"),
        ("d.parquet(column=a)", "it must be without column: it has the options inputs, target, sp"),
        ("d.parquet(inputs=3)", "its options must be columns, or lists of columns"),
        ("d.parquet(inputs=[])", "its options must be columns"),
        ("d.parquet(a)", "its options must be columns"),
        ("d.parquet(inputs=__import__('os'))", "its options must be columns"),
        ("d.parquet(inputs=a)", "without target; it must name its columns, as in d.parquet(inp"),
        ("d.parquet(inputs=q, target=y)", "with the column 'q'; it must be one of a, b, c d, y"),
        ("d.parquet(inputs=a, target=y, split=y)", "with 0 in column 'y'; it must be train or"),
        ("d.parquet(inputs=word, target=y)", "with column 'word' of "),
        ("d.parquet(inputs=hole, target=y)", "with column 'hole' of 1 empty cells"),
        ("d.py:three", "that returns the arrays x_train, y_train, x_test, y_test (it returned"),
        ("d.py:missing", "(there is no such function)"),
        ("d.py:value", "(there is no such function)"),
        ("d.py:raising", "d.py:raising failed: RuntimeError: no internet"),
        ("d.py:ending", "d.py:ending failed: SystemExit: 3"),
        ("none.npz", "must be a readable npz file: No such file or directory"),
        ("cut.npz", "must be a readable npz file"),
        ("cut.safetensors", "must be a readable safetensors file"),
        ("cut.parquet(inputs=a, target=b)", "must be a readable parquet file"),
        ("one.npz", "must be a readable npz file: it holds one array"),
        ("objects.npz", "must be a readable npz file"),
    ],
)
def test_a_fault_of_a_file_is_one_sentence(name, said, folder):
    for kind in ("npz", "safetensors", "parquet"):
        (folder / f"cut.{kind}").write_bytes((folder / f"d.{kind}").read_bytes()[:100])
    with (folder / "one.npz").open("wb") as file:
        np.save(file, X)
    np.savez(folder / "objects.npz", **{**ARRAYS, "x_train": np.array([{}], dtype=object)})
    with pytest.raises(DatasetError) as error:
        arrays(name, folder)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
