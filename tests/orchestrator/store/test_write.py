"""Parts appear whole, hold what was given, and failures leave nothing behind."""

import datetime
import math
import os
import pickle
import socket
import stat
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.store import (
    TRIALS,
    RowError,
    Store,
    StoreError,
    atomic_write,
    create,
    remove_orphaned_temporaries,
    set_aside,
    write_bytes_whole,
    write_part,
    write_table,
)
from orchestrator.store.schema import TRAJECTORIES
from orchestrator.store.write import to_table

KEY = {"trial_id": "a", "attempt": 1}


def test_a_run_directory_is_private_to_its_owner(tmp_path) -> None:
    create(tmp_path / "runs" / "one")
    create(tmp_path / "runs" / "one")
    assert stat.S_IMODE((tmp_path / "runs" / "one").stat().st_mode) == 0o700
    assert {path.name for path in (tmp_path / "runs" / "one").iterdir()} >= {
        *("trials", "trajectories", "measures", "attempts", "claims", "checkpoints", "logs")
    }


def test_a_part_holds_the_rows_with_the_types_of_its_table(run) -> None:
    moment = datetime.datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)
    row = {**KEY, "epsilon": 0.1, "steps": 7, "git_dirty": True, "started_at": moment}
    path = write_part(run.path, "trials", "a", [row])
    assert path == run.path / "trials" / "a.parquet"
    assert pq.read_schema(path).equals(TRIALS)
    (read,) = pq.read_table(path).to_pylist()
    assert {key: value for key, value in read.items() if value is not None} == row


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan"), None])
def test_a_number_that_was_not_measured_is_null(run, value) -> None:
    for rows in ([{**KEY, "sharpness": value}], pa.table({k: [v] for k, v in KEY.items()})):
        write_part(run.path, "trials", "a", rows)
        (row,) = Store(run.path).rows("trials")
        assert row["sharpness"] is None


def test_a_table_of_arrow_is_checked_like_rows(run) -> None:
    rows = pa.table({"trial_id": ["a"], "attempt": [1], "sharpness": [math.inf]})
    write_part(run.path, "trials", "a", rows)
    assert Store(run.path).rows("trials")[0]["sharpness"] is None
    with pytest.raises(RowError, match="sharpnes"):
        write_part(
            run.path, "trials", "b", rows.rename_columns(["trial_id", "attempt", "sharpnes"])
        )


@given(
    st.lists(
        st.fixed_dictionaries(
            {"trial_id": st.text(max_size=5), "attempt": st.integers(0, 2**62)},
            optional={
                "step": st.integers(-(2**63), 2**63 - 1),
                "sharpness": st.floats(width=64) | st.none(),
            },
        ),
        max_size=8,
    )
)
@settings(max_examples=60, deadline=None)
def test_any_rows_come_back_as_they_were(rows) -> None:
    for row, read in zip(rows, to_table(rows, TRAJECTORIES).to_pylist(), strict=True):
        sharpness = row.get("sharpness")
        if sharpness is not None and not math.isfinite(sharpness):
            sharpness = None
        assert read["sharpness"] == sharpness
        assert (read["trial_id"], read["step"]) == (row["trial_id"], row.get("step"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"sharpnes": 1.0}, "column is 'sharpnes'; it must be one of trial_id, "),
        ({"steps": 1.5}, "steps is 1.5; it must be a whole number"),
        ({"steps": True}, "steps is True; it must be a whole number"),
        ({"steps": 2**63}, "steps is 9223372036854775808; it must be a whole number"),
        ({"time": "soon"}, "time is 'soon'; it must be a number"),
        ({"status": 3}, "status is 3; it must be a string"),
        ({"started_at": datetime.datetime(2030, 1, 1)}, "started_at .* time zone"),
        ({"trial_id": None}, "trial_id is NULL"),
        ({"attempt": None}, "attempt is NULL"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_and_named(run, row, message) -> None:
    with pytest.raises(RowError, match=message):
        write_part(run.path, "trials", "a", [{**KEY, **row}])
    assert list((run.path / "trials").iterdir()) == []


@pytest.mark.parametrize("name", ["", ".a", "_a", "a/b", "../a", "compacted-1"])
def test_a_name_that_readers_would_misread_is_refused(run, name) -> None:
    with pytest.raises(ValueError, match="name of a part"):
        write_part(run.path, "trials", name, [KEY])


def test_a_part_of_the_same_name_is_replaced(run) -> None:
    run.trial("a", attempt=1)
    run.trial("a", attempt=2, epsilons=(0.3,))
    assert [row["epsilon"] for row in Store(run.path).rows("trials")] == [0.3]
    assert len(list((run.path / "trials").iterdir())) == 1


def test_a_failed_write_leaves_the_old_file_and_no_temporary(tmp_path) -> None:
    path = tmp_path / "sweep.yaml"
    write_bytes_whole(path, b"old")

    def fail(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_write(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named_and_the_error_survives_a_process_boundary(tmp_path) -> None:
    path = tmp_path / "nowhere" / "phase.parquet"
    with pytest.raises(StoreError, match=r"phase\.parquet could not be written: .*must exist") as e:
        write_table(path, [], TRIALS)
    again = pickle.loads(pickle.dumps(e.value))
    assert (str(again), again.errno) == (str(e.value), e.value.errno)


@pytest.fixture
def full(tmp_path):
    """A run directory in a file system of 64 KiB."""
    mount = tmp_path / "small"
    mount.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mount)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted: {mounted.stderr.strip()}")
    create(mount / "run")
    yield mount / "run"
    subprocess.run(["umount", str(mount)], check=True)


def test_a_full_disk_is_one_sentence_and_leaves_whole_parts_only(full) -> None:
    rows = [{**KEY, "epsilon": float(number), "sharpness": 1 / 3} for number in range(40)]
    written = []

    def fill() -> None:
        for number in range(100):
            trial = f"a{number}"
            write_part(full, "trials", trial, [{**row, "trial_id": trial} for row in rows])
            written.append(trial)

    with pytest.raises(StoreError, match=r"a\d+\.parquet could not be written: No space .*; free"):
        fill()
    assert written
    assert not [path for path in full.rglob("*") if path.name.endswith(".tmp")]
    store = Store(full)
    assert len(store.settled()) == len(store.parts("trials")) == len(written)
    assert store.table("trials").num_rows == 40 * len(written)
    assert store.unreadable == []


def test_only_temporaries_of_dead_writers_are_removed(run) -> None:
    dead, unreaped = subprocess.Popen(["true"]), subprocess.Popen(["true"])
    dead.wait()
    os.waitid(os.P_PID, unreaped.pid, os.WEXITED | os.WNOWAIT)
    host = socket.gethostname()
    folder = run.path / "trials"
    orphan = folder / f".a.parquet.{host}.{dead.pid}.tmp"
    corpse = folder / f".b.parquet.{host}.{unreaped.pid}.tmp"
    alive = folder / f".a.parquet.{host}.{os.getpid()}.tmp"
    foreign = run.path / "checkpoints" / ".a.elsewhere-9.77.tmp"
    old = run.path / "checkpoints" / ".b.elsewhere-9.77.tmp"
    users = run.path / "logs" / "notes.tmp"
    for path in (orphan, corpse, alive, foreign, old, users):
        path.touch()
    os.utime(old, (1, 1))
    assert remove_orphaned_temporaries(run.path) == sorted([orphan, corpse, old])
    assert all(path.exists() for path in (alive, foreign, users))
    assert not any(path.exists() for path in (orphan, corpse, old))
    unreaped.wait()


def test_setting_aside_deletes_nothing_and_numbers_what_has_the_same_name(run, caplog) -> None:
    for content in (b"first", b"second", b"third"):
        path = run.path / "trials" / "a.parquet"
        path.write_bytes(content)
        set_aside(path, "no footer")
    assert {path.name: path.read_bytes() for path in Store(run.path).damaged()} == {
        ".a.parquet.damaged": b"first",
        ".a.parquet.damaged-2": b"second",
        ".a.parquet.damaged-3": b"third",
    }
    assert "no footer" in caplog.text
