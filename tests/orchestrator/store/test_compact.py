"""Compaction changes no answer, whoever reads, writes or is killed meanwhile."""

import json
import os
import random
import select
import signal

import pyarrow.parquet as pq
import pytest

from orchestrator.store import (
    TABLES,
    Store,
    compact,
    compaction,
    remove_orphaned_temporaries,
    write_part,
)
from orchestrator.store.files import identity
from orchestrator.store.parts import CONTAINS, contents
from orchestrator.store.selection import list_parts


def names(run, table: str = "trials") -> list[str]:
    return sorted(path.name for path in (run.path / table).iterdir())


def answers(run) -> list[list[tuple]]:
    store = Store(run.path)
    return [
        sorted(tuple(str(value) for value in row.values()) for row in store.rows(table))
        for table in TABLES
    ]


def test_many_parts_become_one_sorted_file_and_no_answer_changes(run) -> None:
    for number in random.Random(0).sample(range(30), 30):
        run.trial(f"{number:02}")
    before = answers(run)
    done = compact(run.path)
    assert (done.merged, len(done.written), done.busy) == (90, 3, False)
    assert [name[:10] for name in names(run)] == ["compacted-"]
    assert answers(run) == before
    trials = pq.read_table(run.path / "trials").to_pylist()
    order = [(row["column_id"], row["trial_id"], row["epsilon"]) for row in trials]
    assert order == sorted(order)


def test_what_is_compacted_is_merged_with_what_comes_later_and_then_left_alone(run) -> None:
    run.trial("a")
    run.trial("b")
    compact(run.path)
    run.trial("c")
    before = answers(run)
    assert compact(run.path).merged == 6
    assert (len(names(run)), answers(run)) == (1, before)
    assert compact(run.path).merged == 0


def test_one_table_alone(run) -> None:
    run.trial("a")
    run.trial("b")
    compact(run.path, "attempts")
    assert (len(names(run)), len(names(run, "attempts"))) == (2, 1)
    with pytest.raises(ValueError, match="trails"):
        compact(run.path, "trails")


def test_older_attempts_are_left_out_also_from_a_compacted_file(run) -> None:
    run.trial("a", attempt=1, name="a1")
    run.trial("b", attempt=1)
    compact(run.path)
    run.trial("a", attempt=2, name="a2")
    before = answers(run)
    compact(run.path)
    assert answers(run) == before
    (path,) = (run.path / "trials").iterdir()
    assert {(row["trial_id"], row["attempt"]) for row in pq.read_table(path).to_pylist()} == {
        ("a", 2),
        ("b", 1),
    }


def test_files_stay_near_the_target_size_and_full_ones_are_left(run, monkeypatch) -> None:
    for number in range(12):
        run.trial(f"{number:02}")
    size = (run.path / "trials" / "00.parquet").stat().st_size
    before = answers(run)
    monkeypatch.setattr(compaction, "TARGET_BYTES", 4 * size + size // 2)
    assert len(compact(run.path, "trials").written) == 3
    assert answers(run) == before
    monkeypatch.setattr(compaction, "TARGET_BYTES", 2 * size)
    assert compact(run.path, "trials").merged == 0


def test_a_damaged_part_stays_and_is_not_taken(run) -> None:
    run.trial("a")
    run.trial("b")
    path = run.trial("c", status="the-value-to-damage")
    content = bytearray(path.read_bytes())
    content[content.index(b"the-value-to-damage")] ^= 0xFF
    path.write_bytes(content)
    compact(run.path, "trials")
    assert Store(run.path).settled() >= {"a", "b"}
    assert path.read_bytes() == content
    (path,) = Store(run.path, warn=print).check_parts()[0][:1]
    assert {row["trial_id"] for row in Store(run.path).rows("trials")} == {"a", "b"}


@pytest.mark.parametrize("trials", ["a", "ab"])
def test_no_row_is_deleted_for_the_sake_of_a_newer_one_that_cannot_be_read(run, trials) -> None:
    rows = [{"trial_id": trial, "attempt": 1, "epsilon": 0.1, "steps": 1} for trial in trials]
    write_part(run.path, "trials", "older", rows)
    path = run.trial("a", attempt=2, name="newer", status="the-value-to-damage")
    content = bytearray(path.read_bytes())
    content[content.index(b"the-value-to-damage")] ^= 0xFF
    path.write_bytes(content)
    expected = Store(run.path).rows("trials")
    compact(run.path)
    assert {row["steps"] for row in expected} == {1}
    assert Store(run.path).rows("trials") == expected
    assert path.exists()


def test_a_second_compaction_says_that_another_is_at_work(run, start) -> None:
    run.trial("a")
    run.trial("b")
    holder = start(run, "lock")
    assert holder.stdout.readline() == "locked\n"
    assert compact(run.path).busy
    assert len(names(run)) == 2


def kill_when(monkeypatch, function: str, call: int) -> None:
    """End a compaction as a kill would: nothing of it runs after the given call."""
    original, calls = getattr(compaction, function), iter(range(1000))

    def die(*arguments, **options):
        if next(calls) == call:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(compaction, function, die)


@pytest.mark.parametrize("call", range(3))
def test_readers_ignore_parts_that_a_killed_compaction_did_not_delete(
    run, monkeypatch, call
) -> None:
    for trial in "abc":
        run.trial(trial)
    before = answers(run)
    with monkeypatch.context() as patch:
        kill_when(patch, "_delete_if_same", call)
        with pytest.raises(KeyboardInterrupt):
            compact(run.path)
    assert len(names(run)) > 1
    assert len(list_parts(run.path / "trials").live) == 1
    assert answers(run) == before
    compact(run.path)
    assert (len(names(run)), answers(run)) == (1, before)


def test_compacted_files_are_deleted_before_parts(run, monkeypatch) -> None:
    """So a reader that finds a part gone finds the older file with its rows gone as well."""
    run.trial("a")
    run.trial("b")
    compact(run.path, "trials")
    run.trial("0")
    deleted = []
    monkeypatch.setattr(
        compaction, "_delete_if_same", lambda path, _: deleted.append(path.name[:9])
    )
    compact(run.path, "trials")
    assert deleted == ["compacted", "0.parquet"]


def hosts(run) -> set[tuple[str, str]]:
    """Who computed each trial: what tells two equal attempts apart, whose part has one name."""
    return {(row["trial_id"], row["hostname"]) for row in Store(run.path).rows("trials")}


def test_a_part_replaced_while_it_is_compacted_survives(run, monkeypatch) -> None:
    run.trial("a", hostname="one")
    run.trial("b", hostname="one")
    merge = compaction._merge

    def replace_after_merge(store, table, batch, held):
        path = merge(store, table, batch, held)
        run.trial("a", hostname="another")
        return path

    monkeypatch.setattr(compaction, "_merge", replace_after_merge)
    compact(run.path, "trials")
    assert hosts(run) == {("a", "another"), ("b", "one")}


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_part_replaced_at_the_last_moment_before_its_deletion_survives(
    run, monkeypatch, is_killed
) -> None:
    run.trial("a", hostname="one")
    run.trial("b", hostname="one")
    checks = []

    def replace_after_check(path):
        found = identity(path)
        if path.name == "a.parquet":
            checks.append(path)
            if len(checks) == 2:
                run.trial("a", hostname="another")
        elif path.name == ".a.parquet.retired" and is_killed:
            raise KeyboardInterrupt
        return found

    with monkeypatch.context() as patch:
        patch.setattr(compaction, "identity", replace_after_check)
        if is_killed:
            with pytest.raises(KeyboardInterrupt):
                compact(run.path, "trials")
            assert hosts(run) == {("a", "one"), ("b", "one")}
        else:
            compact(run.path, "trials")
    if is_killed:
        compact(run.path, "trials")
    assert hosts(run) == {("a", "another"), ("b", "one")}
    assert not [name for name in names(run) if name.startswith(".")]


def test_a_compacted_file_lists_what_it_holds(run) -> None:
    held = {path.name: identity(path) for path in (run.trial("a"), run.trial("b"))}
    (path,) = compact(run.path, "trials").written
    assert contents(path) == held
    assert set(json.loads(pq.read_metadata(path).metadata[CONTAINS])) == set(held)


def test_a_reader_sees_every_key_once_while_others_write_and_compact(run, start) -> None:
    trials = {f"{number:016x}" for number in range(6)}
    start(run, "write", 0, 6, 1).wait()
    writer = start(run, "write", 0, 6, 0)
    compactor = start(run, "compact")
    for _ in range(30):
        run.assert_whole(trials)
    assert writer.poll() is None
    assert compactor.poll() is None


def test_killing_writers_and_compactors_leaves_every_key_once(run, start) -> None:
    trials = {f"{number:016x}" for number in range(4)}
    start(run, "write", 0, 4, 1).wait()
    moments = random.Random(0)
    forks = start(run, "fork", 4)
    for _ in range(25):
        print(file=forks.stdin, flush=True)
        children = [int(child) for child in forks.stdout.readline().split()]
        for child in moments.sample(children, 2):
            select.select([forks.stdout], [], [], 0.06 * moments.random())
            os.kill(child, signal.SIGKILL)
        run.assert_whole(trials)
    forks.stdin.close()
    assert forks.wait() == 0
    remove_orphaned_temporaries(run.path)
    assert not list(run.path.rglob("*.tmp"))
    compact(run.path)
    run.assert_whole(trials)
    assert [len(names(run, table)) for table in ("trials", "trajectories", "attempts")] == [1, 1, 1]


def test_eight_writers_and_a_compactor_lose_nothing(run, start) -> None:
    start(run, "compact")
    assert start(run, "writers", 8, 5, 2).wait() == 0
    trials = {f"{number:016x}" for number in range(40)}
    run.assert_whole(trials)
    store = Store(run.path)
    assert {row["attempt"] for row in store.rows("trials")} == {2}
    assert store.table("trajectories").num_rows == 3 * 40
    assert store.table("attempts").num_rows == 2 * 40


def test_a_kill_releases_the_lock(run, start) -> None:
    run.trial("a")
    run.trial("b")
    holder = start(run, "lock")
    assert holder.stdout.readline() == "locked\n"
    holder.kill()
    holder.wait()
    assert not compact(run.path).busy
