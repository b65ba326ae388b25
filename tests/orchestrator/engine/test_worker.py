"""A worker in this process: batches change no number, and a fault affects one trial only."""

from __future__ import annotations

import dataclasses
import datetime
import errno
import re
import time

import pytest

from jobs import OngoingTrial, datasets
from jobs.objective import Objective
from jobs.ongoing import advance
from jobs.recorder import Recorder
from orchestrator.engine import attempt as attempt_module
from orchestrator.engine import execution
from orchestrator.engine import worker as worker_module
from orchestrator.engine.worker import Worker
from orchestrator.ledger import read_marks
from orchestrator.ledger.data_digests import DataDigest, data_key
from orchestrator.live import LiveFile, read_live
from orchestrator.logs import read_log
from orchestrator.store import Store
from orchestrator.sweep import Resources


@pytest.fixture(autouse=True)
def stops_at_once(monkeypatch):
    """Check the stop file after every step, not every POLL_SECONDS."""
    monkeypatch.setattr(worker_module, "POLL_SECONDS", -1.0)


@pytest.fixture
def sizes(monkeypatch):
    """The sizes of batches that trials have joined."""
    seen, before = [], set()

    def note(runs, until):
        nonlocal before
        if not set(runs) <= before:
            seen.append(len(runs))
        before = set(runs)
        advance(runs, until)

    monkeypatch.setattr(execution, "advance", note)
    return seen


def test_a_batch_writes_the_tables_of_its_trials_one_by_one(bench, one_by_one, sizes):
    report = bench.carry_out(bench.work(bench.trials()))
    names = [trial.trial_id for trial in bench.trials()]
    assert sizes == [len(names)]
    assert sorted(report.settled.trial_ids) == sorted(names)
    assert (report.failed, report.running, report.halt) == ((), (), None)
    assert bench.science() == one_by_one
    assert bench.attempts() == sorted((name, 1, "settled") for name in names)
    assert list(read_marks(bench.path)) == []
    assert {row["status"] for row in bench.science()["trials"]} == {"reached", "diverged"}
    reached = [row for row in bench.science()["trials"] if row["status"] == "reached"]
    # At both points a trace, a distance, and three norms of θ and of each of its four tensors.
    assert len(bench.science()["measures"]) == len(reached) * 2 * (1 + 1 + 3 * 5)
    assert all(row["distance_from_flow"] > 0 for row in reached)


def test_trials_that_measure_nothing_further_have_no_file_for_it(bench):
    plain = dataclasses.replace(bench.column.protocol, also=(), max_steps=20)
    trial = dataclasses.replace(bench.trials()[0], protocol=plain)
    bench.carry_out(bench.work([trial]))
    assert {(trial.trial_id, 1, "settled")} == set(bench.attempts())
    assert list((bench.path / "measures").iterdir()) == []
    assert {row["distance_from_flow"] for row in bench.science()["trials"]} == {None}


def test_places_that_become_free_are_filled(bench, one_by_one, sizes):
    work = bench.work(bench.trials())
    work = dataclasses.replace(
        work,
        assignments=tuple(dataclasses.replace(a, batch_size=3) for a in work.assignments),
    )
    bench.carry_out(work)
    assert max(sizes) == 3
    assert len(sizes) > 3
    assert bench.science() == one_by_one


def test_an_interrupted_batch_continues_with_other_companions(bench, one_by_one, sizes):
    first, second = bench.trials()[:5], bench.trials()[3:]
    assert _interrupted(bench, bench.work(first)) == 5
    saved = sorted(path.stem for path in (bench.path / "checkpoints").glob("*.safetensors"))
    assert saved == sorted(trial.trial_id for trial in first)
    assert bench.attempts() == sorted((name, 1, "preempted") for name in saved)
    assert list(read_marks(bench.path)) == []
    sizes.clear()
    bench.carry_out(bench.work(second, attempt=2))
    for trial in bench.trials()[:3]:
        bench.carry_out(bench.work([trial], attempt=2))
    assert sizes == [5, 1, 1, 1]
    assert bench.science() == one_by_one
    assert list((bench.path / "checkpoints").iterdir()) == []


def _interrupted(bench, work):
    """Stop a worker as soon as every trial has moved; how many it reported as running."""
    worker = Worker({"work": dataclasses.replace(work, report_seconds=0.001)})
    running = ()
    while not running or any(item.step == 0 for item in running):
        result = worker.step()
        assert not result["done"]
        assert len(result["report"].settled) == 0
        running = result["report"].running
    assert {item.trial_id for item in running} == {a.trial.trial_id for a in work.assignments}
    bench.stop_file.touch()
    while not result["done"]:
        result = worker.step()
    assert result["report"].running == ()
    bench.stop_file.unlink()
    return len(running)


def test_other_resources_resume_the_checkpoints_of_a_batch(bench, sizes):
    trial = bench.trials()[4]
    _interrupted(bench, bench.work(bench.trials()[:5]))
    sizes.clear()
    bench.carry_out(bench.work([trial], attempt=2, resources=Resources(cpus_per_worker=2)))
    assert sizes == [1]
    assert (trial.trial_id, 2, "settled") in bench.attempts()
    assert "attempt 2 resumes at step " in "".join(read_log(bench.path, trial.trial_id))


@pytest.fixture
def measuring_fails(monkeypatch):
    """Make S at a step of a trial impossible to measure; how often that was tried."""
    due, tried = Recorder.due, []

    def fail(learning_rate, step):
        def due_or_fail(self, at, **asked):
            found = due(self, at, **asked)
            if self._trial.learning_rate == learning_rate and at.step >= step and found.measured:
                tried.append(at.step)
                raise FloatingPointError("the products are not finite")
            return found

        monkeypatch.setattr(Recorder, "due", due_or_fail)
        return tried

    return fail


def test_a_trial_that_raises_in_a_batch_fails_alone(bench, one_by_one, sizes, measuring_fails):
    guilty, tried = bench.trials()[2], measuring_fails(0.05, 40)
    names = {trial.trial_id for trial in bench.trials()} - {guilty.trial_id}
    report = bench.carry_out(bench.work(bench.trials()))
    assert report.failed == (guilty.trial_id,)
    assert set(report.settled.trial_ids) == names
    assert sizes[0] == len(names) + 1
    assert set(sizes[1:]) == {1}
    assert tried == [40, 40]
    others = {
        table: [row for row in rows if row["trial_id"] != guilty.trial_id]
        for table, rows in one_by_one.items()
    }
    assert bench.science() == others
    assert bench.attempts() == sorted(
        [(name, 1, "settled") for name in names] + [(guilty.trial_id, 1, "failed")]
    )
    assert list(read_marks(bench.path)) == []
    log = "\n".join(read_log(bench.path, bench.trials()[0].trial_id))
    parted = r"its batch of \d trials failed \(FloatingPointError: the products are not finite\)"
    assert re.search(parted, log)
    assert "FloatingPointError" in "\n".join(read_log(bench.path, guilty.trial_id))
    assert "Traceback" not in log


def test_a_gradient_that_raises_for_many_at_once_makes_batches_of_one(
    bench, one_by_one, sizes, monkeypatch
):
    """As memory does that is enough for one run and not for several."""
    stacked, calls = Objective.stacked_gradients, []

    def stacked_or_fail(objective, thetas):
        calls.append(len(thetas))
        if len(thetas) > 1 and len(calls) > 30:
            raise MemoryError
        return stacked(objective, thetas)

    monkeypatch.setattr(Objective, "stacked_gradients", stacked_or_fail)
    report = bench.carry_out(bench.work(bench.trials()))
    assert report.failed == ()
    assert sizes[0] == 8
    assert set(sizes[1:]) == {1}
    assert bench.science() == one_by_one


@pytest.mark.parametrize("trials", [1, 4])
def test_a_trial_whose_result_cannot_be_made_has_failed(bench, monkeypatch, trials):
    guilty, result = bench.trials()[0], OngoingTrial.result

    def raise_for_guilty(run):
        if run.trial == guilty:
            raise ValueError("no result")
        return result(run)

    monkeypatch.setattr(OngoingTrial, "result", raise_for_guilty)
    report = bench.carry_out(bench.work(bench.trials()[:trials]))
    assert report.failed == (guilty.trial_id,)
    assert len(report.settled) == trials - 1
    assert list(read_marks(bench.path)) == []


def test_what_one_trial_has_in_the_run_directory_fails_that_trial_only(bench, one_by_one):
    guilty = bench.trials()[0]
    bench.checkpoint(guilty).mkdir()
    report = bench.carry_out(bench.work(bench.trials()))
    assert report.failed == (guilty.trial_id,)
    assert len(report.settled) == len(bench.trials()) - 1


def test_a_checkpoint_that_cannot_be_written_fails_its_trial_only(bench):
    guilty = bench.trials()[0]
    often = Resources(checkpoint_seconds=0.0)
    work = bench.work(bench.trials(), resources=often, report_seconds=0.01)
    worker = Worker({"work": work})
    worker.step()
    bench.checkpoint(guilty).unlink(missing_ok=True)
    bench.checkpoint(guilty).mkdir()
    failed, settled = (), ()
    while True:
        result = worker.step()
        failed += result["report"].failed
        settled += result["report"].settled.trial_ids
        if result["done"]:
            break
    assert failed == (guilty.trial_id,)
    assert len(settled) == len(bench.trials()) - 1


def test_a_trial_counts_its_share_of_the_seconds(bench):
    start = time.monotonic()
    report = bench.carry_out(bench.work(bench.trials()))
    passed = time.monotonic() - start
    seconds = report.settled.seconds.tolist()
    assert min(seconds) > 0
    assert sum(seconds) < passed


def test_a_full_disk_halts_a_batch_and_blames_no_trial(bench, monkeypatch):
    def full(run, row):
        if row["trial_id"] != bench.trials()[0].trial_id:
            raise OSError(errno.ENOSPC, "No space left on device", str(run))
        commit_attempt(run, row)

    commit_attempt = attempt_module.commit_attempt
    monkeypatch.setattr(attempt_module, "commit_attempt", full)
    worker = Worker({"work": bench.work(bench.trials()[:4], report_seconds=0.001)})
    results = [worker.step()]
    bench.stop_file.touch()
    while not results[-1]["done"]:  # a step may be over before or after the disk is found full
        results.append(worker.step())
    (halt,) = {result["report"].halt for result in results} - {None}
    assert "No space left on device" in halt
    assert [result["report"].failed for result in results] == [()] * len(results)
    assert [outcome for _, _, outcome in bench.attempts()] == ["preempted"]


@pytest.fixture
def shows_always(monkeypatch):
    """Show the progress of the trials after every slice."""
    show = LiveFile.show
    monkeypatch.setattr(LiveFile, "show", lambda self, trials, every: show(self, trials, 0.0))


@pytest.mark.parametrize("resources", [Resources(), Resources(cpus_per_worker=2)])
def test_a_worker_shows_its_progress_and_removes_that_at_the_end(bench, resources, shows_always):
    """In a batch, and alone: S at the recorded points, and nothing is left at the end."""
    trials = bench.trials()[:2]
    work = bench.work(trials, resources=resources, report_seconds=0.001)
    worker, heard = Worker({"work": work}), {}
    while not worker.step()["done"]:
        for process in read_live(bench.path):
            for trial in process.trials:
                heard.setdefault(trial.trial_id, []).append(trial)
    assert list((bench.path / "live").iterdir()) == []
    assert heard.keys() == {trial.trial_id for trial in trials}
    recorded = {name: [] for name in heard}
    for row in bench.science()["trajectories"]:
        if row["trial_id"] in recorded:
            recorded[row["trial_id"]].append((row["step"], row["sharpness"]))
    for name, said in heard.items():
        steps = [trial.step for trial in said]
        assert steps == sorted(steps)
        assert {trial.attempt for trial in said} == {1}
        last = said[-1]
        passed = [sharpness for step, sharpness in recorded[name] if step < last.step]
        assert len(passed) > 1
        assert last.sharpness[: len(passed)] == pytest.approx(passed, rel=1e-5)


def test_a_worker_that_stops_removes_its_progress(bench, shows_always):
    work = bench.work(bench.trials()[:2])
    _interrupted(bench, work)
    assert list((bench.path / "live").iterdir()) == []


def test_no_number_depends_on_the_progress_file(bench, one_by_one, shows_always):
    """Neither where it is always written, nor where it cannot be."""
    (bench.path / "live").rmdir()
    (bench.path / "live").touch()
    bench.carry_out(bench.work(bench.trials()[:3], report_seconds=0.001))
    (bench.path / "live").unlink()
    (bench.path / "live").mkdir()
    bench.carry_out(bench.work(bench.trials()[3:], report_seconds=0.001))
    assert bench.science() == one_by_one


def test_rows_say_what_was_read_and_a_trial_that_reads_anything_else_fails(bench):
    trial, other = bench.trials()[-2:]
    bench.carry_out(bench.work([trial]))
    digest = datasets.load(trial.problem).digest
    assert {row["data_digest"] for row in bench.science()["trials"]} == {digest}
    moment = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    data = {data_key(trial.problem): DataDigest("0" * 16, "x", "y", moment)}
    report = bench.carry_out(dataclasses.replace(bench.work([other]), data=data))
    assert (report.settled.trial_ids, report.failed) == ((), (other.trial_id,))
    errors = {row["trial_id"]: row["error"] for row in Store(bench.path).rows("attempts")}
    assert f"has the digest {digest} here; it must be {'0' * 16}" in errors[other.trial_id]
    assert {row["trial_id"] for row in bench.science()["trials"]} == {trial.trial_id}


def test_a_worker_with_nothing_left_waits_for_others_to_start_but_not_for_ever(bench, monkeypatch):
    monkeypatch.setattr(worker_module, "HOLD_SECONDS", 0.5)
    monkeypatch.setattr(worker_module, "POLL_SECONDS", 0.01)
    work = bench.work(bench.trials()[:1], report_seconds=0.05)
    for let_go in (lambda: work.hold_file.unlink(), lambda: bench.stop_file.touch(), lambda: None):
        work.hold_file.write_text("another")
        worker = Worker({"work": work})
        while len((result := worker.step())["report"].settled) == 0:
            assert not result["done"]
        assert not result["done"]
        let_go()
        ended = time.monotonic() + 10
        while not worker.step()["done"]:
            assert time.monotonic() < ended
        bench.stop_file.unlink(missing_ok=True)
