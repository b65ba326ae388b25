"""``eos verify``: a verdict for each check and claim, and an exit status."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs import golden
from jobs.golden import Check
from orchestrator.analysis.claims import CLAIMS
from orchestrator.cli import verify


def checks(*holds: bool) -> Callable[..., Iterator[Check]]:
    return lambda device: iter([Check("steps", "33", "33", hold) for hold in holds])


@pytest.mark.parametrize(("holds", "status"), [((True, True), 0), ((True, False), 1)])
def test_one_wrong_number_is_exit_status_1(
    eos: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, holds: tuple[bool, ...], status: int
) -> None:
    monkeypatch.setattr(golden, "golden_checks", checks(*holds))
    answer = eos("verify", "--json")
    assert answer.status == status
    listed = json.loads(answer.out[answer.out.index("[") :])
    assert [one["holds"] for one in listed] == list(holds)


def test_a_device_that_is_not_there_is_a_sentence(eos: Callable[..., Any]) -> None:
    answer = eos("verify", "--device", "tpu")
    assert (answer.status, answer.error) == (
        2,
        "device is 'tpu'; it must be cpu or cuda (float32 and float64)",
    )


@pytest.mark.parametrize("option", ["--configs", "--run-dir", "--kept"])
def test_an_option_of_the_experiments_is_refused_without_them(
    eos: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, option: str
) -> None:
    monkeypatch.setattr(golden, "golden_checks", checks(True))
    answer = eos("verify", option, tmp_path)
    assert answer.status == 2
    assert answer.error.startswith(f"{option} is {str(tmp_path)!r}; without --paper-small")


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_the_experiments_take_no_device(
    eos: Callable[..., Any], tmp_path: Path, device: str
) -> None:
    answer = eos("verify", "--paper-small", "--device", device, "--configs", tmp_path)
    assert answer.status == 2
    assert answer.error.startswith(f"--device is {device!r}; with --paper-small leave it out")


def test_two_files_of_one_experiment_are_refused_by_name(
    eos: Callable[..., Any], tmp_path: Path
) -> None:
    for name in ("e01_phase.yaml", "e01_again.yaml"):
        (tmp_path / name).write_text("name: e01\n")
    answer = eos("verify", "--paper-small", "--configs", tmp_path, "--run-dir", tmp_path / "run")
    assert answer.status == 2
    assert "e01_again.yaml and e01_phase.yaml there are both e01" in answer.error
    assert not (tmp_path / "run").exists()


def test_a_folder_without_experiments_is_named(eos: Callable[..., Any], tmp_path: Path) -> None:
    answer = eos("verify", "--paper-small", "--configs", tmp_path)
    assert answer.status == 2
    assert str(tmp_path) in answer.error


def test_an_experiment_without_its_data_is_undecided_and_says_why(
    eos: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EOS_DATA", str(tmp_path / "data"))
    (tmp_path / "e05_no_valley.yaml").write_text(
        "name: e05\nproblem: {dataset: cifar10, n_train: 10}\neta: {values: [1]}\n"
        "stop: {epsilon: 0.1}\n"
    )
    answer = eos(
        "verify", "--paper-small", "--configs", tmp_path, "--run-dir", tmp_path / "run", "--json"
    )
    assert answer.status == 0
    (verdict,) = json.loads(answer.out)
    assert (verdict["experiment"], verdict["verdict"]) == ("e05", "undecided")
    assert "eos data fetch cifar10" in verdict["numbers"]
    assert not (tmp_path / "run").exists()


def test_every_small_experiment_has_claims_and_every_claim_an_experiment() -> None:
    folder = Path(verify.__file__).parents[2] / verify.SMALL
    assert sorted(path.name[:3] for path in folder.glob("e*.yaml")) == sorted(CLAIMS)


def test_kept_tables_are_judged_and_nothing_is_run(eos: Callable[..., Any]) -> None:
    kept = Path(verify.__file__).parents[2] / "docs" / "paper-small"
    answer = eos("verify", "--paper-small", "--kept", kept, "--json")
    assert answer.status == 0
    found = [(one["experiment"], one["claim"]) for one in json.loads(answer.out)]
    assert found == [(name, one.sentence) for name, claims in CLAIMS.items() for one in claims]


def test_a_folder_without_kept_tables_is_named(eos: Callable[..., Any], tmp_path: Path) -> None:
    answer = eos("verify", "--paper-small", "--kept", tmp_path)
    assert answer.status == 2
    assert answer.error.startswith(f"--kept is {str(tmp_path)!r}; ")
    answer = eos("verify", "--paper-small", "--kept", tmp_path, "--run-dir", tmp_path)
    assert answer.error.startswith(f"--run-dir is {str(tmp_path)!r}; with --kept nothing is run")
