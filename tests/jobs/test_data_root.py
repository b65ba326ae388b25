"""The data root, and what errors say of it and of the command that fills it."""

from __future__ import annotations

import pwd
import shlex
import subprocess
import sys

import pytest

from jobs import Problem, datasets
from jobs.datasets import DatasetError
from jobs.datasets.root import get
from orchestrator.cli.output import command


def test_a_home_directory_of_no_user_is_named(monkeypatch):
    monkeypatch.setenv("EOS_DATA", "~nosuchuser/data")
    with pytest.raises(DatasetError, match=r"EOS_DATA is '~nosuchuser/data'.*an absolute path"):
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
    with pytest.raises(DatasetError, match=r"EOS_DATA is not set, .*'somewhere/.*absolute path"):
        datasets.data_root()


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_data_root_that_the_system_refuses_is_named(monkeypatch, name):
    root = "/" + "x" * 5_000  # too long a name for any file system
    monkeypatch.setenv("EOS_DATA", root)
    with pytest.raises(DatasetError, match=f"EOS_DATA is '{root}'; .* may read.*{name}"):
        datasets.check(Problem(dataset=name, n_train=10))


def test_the_command_of_a_missing_dataset_does_what_it_says_in_any_shell(tmp_path, monkeypatch):
    root = tmp_path / "my data's $place"
    monkeypatch.setenv("EOS_DATA", str(root))
    _, _, line = get("mnist").partition("run: ")
    assert shlex.split(line) == [f"EOS_DATA={root}", "eos", "data", "fetch", "mnist"]
    script = line.replace("eos data fetch mnist", "printenv EOS_DATA")
    said = subprocess.run(["sh", "-c", script], env={}, capture_output=True, text=True, check=True)
    assert said.stdout == f"{root}\n"
    monkeypatch.delenv("EOS_DATA")
    assert get("mnist").endswith("run: eos data fetch mnist")


def test_the_program_is_spelt_as_the_user_called_it(monkeypatch):
    monkeypatch.delenv("EOS_DATA", raising=False)
    monkeypatch.setattr(sys, "argv", ["some/where/eos", "data", "list"])
    assert get("mnist").endswith("run: some/where/eos data fetch mnist")
    assert command("plan", "a b") == "some/where/eos plan 'a b'"
