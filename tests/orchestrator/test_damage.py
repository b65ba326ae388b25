"""Full disks, truncated files, memory that is not there: what a run makes of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine import RunEnvironment, execute, prepare
from orchestrator.sweep import load, parse

SMALL = """
name: batch
problem: {dataset: digits, n_train: 100, width: 8, depth: 1, activation: tanh, loss: mse}
eta: {unit: absolute, values: [0.02, 0.03, 0.05, 0.08]}
stop: {epsilon: 0.2, max_steps: 2000}
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a few trials and a picture."""
    if os.getuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_is_a_clear_error_and_the_tables_still_read(
    make_run: Callable[..., Any], small_disk: Path, two_rates: Any
) -> None:
    run = make_run()
    run.path = small_disk / "run"
    shutil.copytree(two_rates.path, run.path)
    settled = run.science()
    more = "eta.values=[0.5,1.0,1.4]", "stop.epsilon=0.2"
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    text = run.run(*more, expect=3)
    assert "No space left on device; free some space and run again" in run.errors
    assert str(small_disk) in run.errors
    assert "Traceback" not in run.errors + text
    assert run.science() == settled
    assert run.temporaries() == []
    filler.unlink()
    run.run(*more)
    assert len(run.science()) == len(settled) + 1
    assert [row for row in run.science() if row in settled] == settled
    run.assert_settled_once()


def test_a_truncated_part_is_set_aside_and_its_trial_runs_again(
    make_run: Callable[..., Any], two_rates: Any
) -> None:
    run = make_run(like=two_rates)
    before = run.science()
    victim = next(
        path
        for path in sorted((run.path / "trials").glob("*.parquet"))
        if any(row["kind"] == "gd" for row in _rows(path))
    )
    names = {row["trial_id"] for row in _rows(victim)}
    data = victim.read_bytes()
    victim.write_bytes(data[: len(data) // 2])
    assert len(run.query("SELECT DISTINCT trial_id FROM trials")) == 3 - len(names)
    run.run("eta.values=[0.5,1.0]", "stop.epsilon=0.2")
    assert victim.name in run.errors
    assert "set aside" in run.errors
    aside = victim.with_name(f".{victim.name}.damaged")
    assert aside.read_bytes() == data[: len(data) // 2]
    assert run.science() == before
    again = [row for row in run.rows("attempts") if row["attempt"] == 2]
    assert {row["trial_id"] for row in again} == names
    assert str(aside) in run.eos("status", str(run.path))


def test_what_a_worker_leaves_half_written_after_the_next_run_began_is_removed(
    tmp_path: Path,
) -> None:
    """Its driver was killed; the worker itself ends a moment later."""
    run = tmp_path / "run"
    sweep = prepare(run, parse(SMALL))
    worker = subprocess.Popen(["sleep", "60"])
    left = run / "trajectories" / f".a.parquet.{socket.gethostname()}.{worker.pid}.tmp"
    left.touch()

    def end_the_worker(_: object) -> None:
        assert left.exists()
        worker.kill()
        worker.wait()

    observe = iter([end_the_worker, lambda _: None])
    execute(
        run, sweep.name, sweep.columns, observe=lambda snapshot: next(observe)(snapshot),
        warn=print, environment=RunEnvironment(stop_at=lambda: 0.0),
    )  # fmt: skip
    assert not left.exists()


def _rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def test_a_trial_of_a_batch_that_cannot_start_fails_alone(make_run: Callable[..., Any]) -> None:
    run = make_run(text=SMALL)
    (column,) = load(run.config).columns
    victim = column.at(0.03).trial_id
    checkpoint = run.path / "checkpoints" / f"{victim}.safetensors"
    checkpoint.mkdir(parents=True)  # neither to be read as a checkpoint nor to be replaced by one
    run.run(expect=3)
    assert {row["eta"] for row in run.rows("trials")} == {None, 0.02, 0.05, 0.08}
    failed = [row for row in run.rows("attempts") if row["outcome"] == "failed"]
    assert {row["trial_id"] for row in failed} == {victim}
    assert [row["failure_class"] for row in failed] == ["exception"] * 2
    assert all(row["attempt"] == 1 for row in run.rows("attempts") if row["trial_id"] != victim)


def test_a_column_that_does_not_fit_in_memory_fails_alone(make_run: Callable[..., Any]) -> None:
    run = make_run()
    text = run.run("problem.width=[8,100000]", "eta.values=[1.0]", "stop.epsilon=0.2", expect=3)
    assert {row["width"] for row in run.rows("trials")} == {8}
    assert len(run.rows("trials")) == 2
    (failed,) = [row for row in run.rows("attempts") if row["outcome"] == "failed"]
    assert failed["failure_class"] == "out_of_memory"
    assert "its flow failed" in text
    reason = run.eos("why", str(run.path))
    assert "out_of_memory" in reason
    assert failed["trial_id"] in reason
    # Running again does not repeat what would fail again; re-arming does.
    run.eos("resume", str(run.path), expect=3)
    run.eos("resume", str(run.path), "--failed", "--where", "width = 8", expect=3)
    assert len(run.rows("attempts")) == 3
    run.eos("resume", str(run.path), "--where", "width > 8", expect=3)
    again = [row for row in run.rows("attempts") if row["outcome"] == "failed"]
    assert [row["attempt"] for row in sorted(again, key=lambda row: row["attempt"])] == [1, 2]
