"""What processes say of their trials in hand: bounded, soon gone, and never in the way."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import live
from orchestrator.ledger.process import ProcessIdentity
from orchestrator.live import (
    LiveFile,
    LiveTrial,
    points_each,
    read_live,
    remove_left_behind,
    rounded,
)
from orchestrator.store import create, remove_orphaned_temporaries

TRIAL = LiveTrial("0123456789abcdef", 2, 150, 0.25, (31.5, None, 30.0))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    create(tmp_path / "run")
    return tmp_path / "run"


def files(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "live").iterdir())


def test_what_a_process_says_is_read_back(run: Path) -> None:
    LiveFile(run).show(lambda: [TRIAL])
    (process,) = read_live(run)
    assert process.trials == (TRIAL,)
    assert process.owner == ProcessIdentity.own()
    assert not process.left_behind


def test_a_process_speaks_again_only_after_a_while(run: Path) -> None:
    said: list[int] = []

    def trials() -> list[LiveTrial]:
        said.append(1)
        return [TRIAL]

    file = LiveFile(run)
    for _ in range(3):
        file.show(trials, every=1000.0)
    assert len(said) == 1
    file.show(trials, every=0.0)
    assert len(said) == 2


def test_a_process_without_work_leaves_nothing(run: Path) -> None:
    file = LiveFile(run)
    file.show(lambda: [TRIAL])
    assert len(files(run)) == 1
    file.clear()
    file.clear()
    assert files(run) == []


@pytest.mark.parametrize("obstacle", ["no folder", "a file", "a folder of that name"])
def test_what_keeps_a_process_from_speaking_is_passed_over(run: Path, obstacle: str) -> None:
    file = LiveFile(run)
    if obstacle == "a folder of that name":
        file.show(lambda: [])
        (name,) = files(run)
        (run / "live" / name).unlink()
        (run / "live" / name).mkdir()
    else:
        (run / "live").rmdir()
        if obstacle == "a file":
            (run / "live").touch()
    file.show(lambda: [TRIAL], every=0.0)
    file.clear()
    assert list(read_live(run)) == []
    assert list(run.rglob("*.tmp")) == []


def test_a_fault_in_a_live_message_is_ignored(run: Path) -> None:
    def broken() -> list[LiveTrial]:
        raise RuntimeError("no trial can be asked")

    LiveFile(run).show(broken)
    assert files(run) == []


def test_a_file_has_a_bounded_number_of_points(run: Path) -> None:
    assert points_each(0) == points_each(1) == points_each(16) == 40
    assert points_each(64) * 64 <= 640
    crowded = [
        LiveTrial(f"{number:016x}", 1, 10**6, 1 / 3, (100 / 3,) * points_each(64))
        for number in range(64)
    ]
    LiveFile(run).show(lambda: crowded)
    (name,) = files(run)
    assert (run / "live" / name).stat().st_size < 20_000


def test_numbers_are_rounded_and_those_that_are_none_are_null() -> None:
    assert [rounded(x) for x in (1 / 3, 123456789.0, math.nan, math.inf, None)] == [
        0.333333, 123457000.0, None, None, None,
    ]  # fmt: skip


OWNER = ProcessIdentity.own().as_dict()
ENTRY = {"trial_id": "a", "attempt": 1, "step": 1, "loss": 0.1, "sharpness": [1.0]}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "null",
        '{"owner": {}, "trials": []}',
        json.dumps({"owner": OWNER}),
        json.dumps({"owner": OWNER, "trials": [{**ENTRY, "sharpness": 3}]}),
        json.dumps({"owner": OWNER, "trials": [{**ENTRY, "sharpness": ["x"]}]}),
        json.dumps({"owner": OWNER, "trials": [{**ENTRY, "step": "x"}]}),
        json.dumps({"owner": OWNER, "trials": [{**ENTRY, "more": 1}]}),
        json.dumps({"owner": {**OWNER, "pid": [1]}, "trials": [ENTRY]}),
        json.dumps({"owner": OWNER, "trials": [ENTRY], "rest": "x" * live.MOST_BYTES}),
        json.dumps({"owner": OWNER, "trials": [{**ENTRY, "step": float("inf")}]}),
        "[" * 100_000,
        "\udcff",
    ],
)
def test_a_file_that_holds_something_else_is_left_out(run: Path, content: str) -> None:
    path = run / "live" / "other-1.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    LiveFile(run).show(lambda: [TRIAL])
    assert [process.trials for process in read_live(run)] == [(TRIAL,)]
    remove_left_behind(run)


def test_more_points_than_we_write_are_cut(run: Path) -> None:
    text = json.dumps({"owner": OWNER, "trials": [{**ENTRY, "sharpness": [1.0] * 5000}]})
    (run / "live" / "other-1.json").write_text(text)
    (process,) = read_live(run)
    assert len(process.trials[0].sharpness) == live.MOST_POINTS


def test_what_is_no_file_is_not_opened(run: Path) -> None:
    """Opening a pipe would wait for somebody to write into it."""
    os.mkfifo(run / "live" / "pipe-1.json")
    (run / "live" / "folder-1.json").mkdir()
    (run / "live" / "nowhere-1.json").symlink_to(run / "nothing")
    assert list(read_live(run)) == []
    remove_left_behind(run)


def test_a_torn_file_is_named_once_and_removed(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    torn = run / "live" / "far-1.json"
    torn.write_text('{"owner": ')
    for _ in range(2):
        assert list(read_live(run)) == []
    (record,) = caplog.records
    assert record.getMessage() == f"{torn} is left out: it is cut or damaged"
    remove_left_behind(run)
    assert not torn.exists()


def dies_after_speaking(run: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from orchestrator.live import LiveFile, LiveTrial; "
        "LiveFile(Path(sys.argv[1])).show(lambda: [LiveTrial('b', 1, 2, None, ())])"
    )
    subprocess.run([sys.executable, "-c", code, str(run)], check=True)


def test_what_a_dead_process_left_is_known_as_such_and_removed(run: Path) -> None:
    dies_after_speaking(run)
    LiveFile(run).show(lambda: [TRIAL])
    gone = {p.owner == ProcessIdentity.own(): p.left_behind for p in read_live(run)}
    assert gone == {True: False, False: True}
    remove_left_behind(run)
    assert [process.trials for process in read_live(run)] == [(TRIAL,)]


@pytest.mark.parametrize(("age", "stays"), [(60, True), (600, False)])
def test_what_a_process_elsewhere_said_is_kept_for_a_while(
    run: Path, age: float, stays: bool
) -> None:
    path = run / "live" / "far-1.json"
    path.write_text(json.dumps({"owner": {**OWNER, "hostname": "far"}, "trials": [ENTRY]}))
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))
    remove_left_behind(run)
    assert path.exists() == stays


def test_a_half_written_file_of_a_dead_process_is_an_orphan(run: Path) -> None:
    process = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                             capture_output=True, text=True, check=True)  # fmt: skip
    name = f".h-1.json.{os.uname().nodename}.{process.stdout.strip()}.tmp"
    (run / "live" / name).touch()
    assert [path.name for path in remove_orphaned_temporaries(run)] == [name]
