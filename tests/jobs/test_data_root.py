"""The data root, and what errors say of it and of the command that fills it."""

from __future__ import annotations

import pwd

import pytest

from jobs import Problem, datasets
from jobs.datasets import DatasetError


def test_a_home_directory_that_nobody_has_is_named(monkeypatch):
    monkeypatch.setenv("EOS_DATA", "~nosuchuser/data")
    with pytest.raises(DatasetError, match="EOS_DATA is '~nosuchuser/data'.*an absolute path"):
        datasets.data_root()


def test_without_any_home_directory_the_variable_is_asked_for(monkeypatch):
    monkeypatch.delenv("EOS_DATA", raising=False)
    monkeypatch.delenv("HOME")

    def nobody(user: int) -> None:
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    words = "EOS_DATA is not set, which stands for '~/.cache/eos-sweep/data', .* no such home"
    with pytest.raises(DatasetError, match=words):
        datasets.data_root()


def test_a_home_directory_of_a_relative_path_is_not_said_to_be_the_variables(monkeypatch):
    monkeypatch.delenv("EOS_DATA", raising=False)
    monkeypatch.setenv("HOME", "somewhere")
    with pytest.raises(DatasetError, match="EOS_DATA is not set, .*'somewhere/.*absolute path"):
        datasets.data_root()


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_data_root_that_the_system_refuses_is_named(monkeypatch, name):
    root = "/" + "x" * 5_000  # too long a name for any file system
    monkeypatch.setenv("EOS_DATA", root)
    with pytest.raises(DatasetError, match=f"EOS_DATA is '{root}'; .* may read.*{name}"):
        datasets.check(Problem(dataset=name, n_train=10))
