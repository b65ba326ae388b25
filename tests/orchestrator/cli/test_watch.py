"""eos watch: what it sees of a run directory, how it ends, and that it writes nothing there."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.slurm_programs import FakeSlurm, everything, queue_line
from support.waiting import wait_for

from orchestrator.cli import watch as command
from orchestrator.ledger import (
    Leases,
    Ledger,
    attempt_row,
    commit_attempt,
    mark_running,
    rearm,
    utc,
)
from orchestrator.live import LiveFile, LiveTrial
from orchestrator.run_directory import sweep_of
from orchestrator.slurm.queue import job_name
from orchestrator.slurm.records import Submission, record_submission
from orchestrator.watch import View, Watcher

PROCESSES = Path(__file__).parent / "processes"
Eos = Callable[..., Any]
RUN = [sys.executable, "-c", "from orchestrator.entry import main; main()", "watch"]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm(tmp_path / "slurm-programs")
    monkeypatch.setenv("PATH", str(fake.programs))
    return fake


def next_trial(run: Path) -> Any:
    """The trial of the run's only column that is to be started next."""
    (column,) = Ledger(run).read(sweep_of(run).columns)
    return column.ready[0]


@pytest.fixture
def working(half_done: Path) -> Path:
    """A run directory in which this process works on a trial, and has said how far it is."""
    trial = next_trial(half_done)
    assert Leases(half_done).acquire(trial.column_id)
    mark_running(half_done, trial.trial_id, trial.column_id, 1)
    says(half_done, trial, (10.0, 20.0, None, 30.0))
    return half_done


def says(run: Path, trial: Any, sharpness: tuple[float | None, ...], attempt: int = 1) -> None:
    LiveFile(run).show(lambda: [LiveTrial(trial.trial_id, attempt, 150, 0.25, sharpness)])


def fail(run: Path, trial: Any, attempt: int, error: str) -> None:
    now = utc(time.time())
    row = attempt_row(
        trial.trial_id, trial.column_id, attempt, "failed", hostname="n1", started_at=now,
        finished_at=now, failure_class="exception", error=error,
    )  # fmt: skip
    commit_attempt(run, row)


def test_a_running_trial_shows_the_edge_at_its_last_points(working: Path) -> None:
    trial = next_trial(working)
    view = Watcher(working).view()
    (one,) = view.running
    assert (one.trial_id, one.kind, one.step, one.loss) == (trial.trial_id, "gd", 150, 0.25)
    assert one.learning_rate == trial.learning_rate
    assert one.eta_over_final_eta_c in (0.5, 1.0, 1.5)
    half = trial.learning_rate / 2
    assert one.at_edge == (10 * half, 20 * half, None, 30 * half)
    assert one.column == ""  # there is no other
    assert (view.processes, view.active, view.finished) == (1, True, False)
    counts = view.trials
    assert (counts.settled, counts.running, counts.to_do, counts.total) == (2, 1, 1, 4)
    assert (view.columns.total, view.columns.running) == (1, 1)


def test_steps_that_are_done_shorten_what_is_left(working: Path) -> None:
    trial = next_trial(working)
    begun = Watcher(working).view().remaining_s
    (working / "live").joinpath(*(p.name for p in (working / "live").iterdir())).unlink()
    fresh = Watcher(working).view()
    assert begun is not None
    assert fresh.remaining_s is not None
    assert begun < fresh.remaining_s
    assert fresh.to_go_s == fresh.remaining_s
    assert fresh.running[0].trial_id == trial.trial_id


def test_a_trial_of_which_nothing_was_said_yet_starts(working: Path) -> None:
    for path in (working / "live").iterdir():
        path.unlink()
    (one,) = Watcher(working).view().running
    assert (one.step, one.loss, one.sharpness, one.age_s) == (None, None, (), None)


def test_what_another_attempt_said_is_not_taken_for_this_one(working: Path) -> None:
    says(working, next_trial(working), (1.0,), attempt=2)
    (one,) = Watcher(working).view().running
    assert one.sharpness == ()


def test_what_a_dead_process_marked_and_said_does_not_run(half_done: Path) -> None:
    trial = next_trial(half_done)
    code = (
        "import sys; from pathlib import Path; from orchestrator.ledger import mark_running; "
        "from orchestrator.live import LiveFile, LiveTrial; run, trial, column = sys.argv[1:]; "
        "mark_running(Path(run), trial, column, 1); "
        "LiveFile(Path(run)).show(lambda: [LiveTrial(trial, 1, 9, None, (1.0,))])"
    )
    arguments = [str(half_done), trial.trial_id, trial.column_id]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)
    view = Watcher(half_done).view()
    assert view.running == ()
    assert (view.active, view.finished, view.to_go_s) == (False, False, None)


def test_later_looks_see_what_came_meanwhile(
    tmp_path: Path, config: Path, compute: Callable[..., Path]
) -> None:
    run = compute(tmp_path / "run", config, trials=1)
    watcher = Watcher(run)
    assert watcher.view().trials.settled == 1
    fail(run, next_trial(run), 1, "KeyError: 'x'\n\nTraceback")
    seen = watcher.view()
    (failure,) = seen.failures
    assert (failure.message, failure.failure_class) == ("KeyError: 'x'", "exception")
    assert failure.final == (seen.trials.failed == 1)
    compute(run, config, trials=4)
    done = watcher.view()
    assert (done.trials.settled, done.finished) == (4, True)
    assert done.failures == ()
    assert done.until is not None
    assert done.since is not None


def test_a_trial_with_a_forgiven_failure_is_to_do_again(half_done: Path) -> None:
    watcher, trial = Watcher(half_done), next_trial(half_done)
    assert watcher.view().failures == ()
    for attempt in (1, 2, 3):
        fail(half_done, trial, attempt, "ValueError: no")
    failed = watcher.view()
    assert (failed.trials.failed, failed.trials.to_do) == (1, 1)
    assert [(one.attempt, one.final) for one in failed.failures] == [(3, True)]
    rearm(half_done, trial.trial_id, 3)
    again = watcher.view()
    assert (again.trials.failed, again.trials.to_do) == (0, 2)
    assert [one.final for one in again.failures] == [False]


def test_a_sweep_that_grows_is_read_again(eos: Eos, half_done: Path) -> None:
    watcher = Watcher(half_done)
    assert watcher.view().columns.total == 1
    path = half_done / "sweep.yaml"
    path.write_text(path.read_text().replace("problem:", "problem:\n  seed: [0, 1]"))
    view = watcher.view()
    assert view.columns.total == 2
    assert view.trials.settled == 2


def test_columns_are_told_apart_by_what_differs(working: Path) -> None:
    path = working / "sweep.yaml"
    path.write_text(path.read_text().replace("problem:", "problem:\n  seed: [0, 1]"))
    (one,) = Watcher(working).view().running
    assert one.column == "seed 0"


def test_watching_opens_nothing_for_writing(
    working: Path, slurm: FakeSlurm, tmp_path: Path
) -> None:
    record_submission(working, Submission("17", job_name(working, "small"), time.time(), "p", None))
    fail(working, next_trial(working), 1, "ValueError: no")
    says(working, next_trial(working), ())
    before, seen = everything(working), tmp_path / "seen"
    ended = subprocess.run(
        [sys.executable, PROCESSES / "audited.py", working, seen],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    events = json.loads(ended.stdout.splitlines()[-1])
    assert ["open", str(seen)] in events
    assert [path for _, path in events if str(working) in path] == []
    assert everything(working) == before


def test_a_directory_that_cannot_be_written_to_is_watched(eos: Eos, working: Path) -> None:
    folders = [working, *(path for path in working.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o500)
    answer = eos("watch", working, "--once")
    for folder in folders:
        folder.chmod(0o700)
    assert answer.status == 0
    assert "2/4 done, 1 running" in answer.out


def test_one_frame_without_a_terminal_is_plain_text(eos: Eos, working: Path) -> None:
    answer = eos("watch", working, "--once")
    assert answer.status == 0
    assert "\x1b" not in answer.out
    assert "small" in answer.out.splitlines()[0]
    (line,) = (line for line in answer.out.splitlines() if "150" in line)
    assert re.fullmatch(r"\S+ +\S+ +150 +0\.25 +\S+  [▁▂▃▄▅▆▇█]{2}·[▁▂▃▄▅▆▇█]", line.rstrip())
    assert "Ctrl-C" not in answer.out


def test_json_has_the_view_with_the_edge(eos: Eos, working: Path) -> None:
    view = json.loads(eos("watch", working, "--json").out)
    assert view["trials"] == {
        "settled": 2,
        "running": 1,
        "to_do": 1,
        "failed": 0,
        "blocked": 0,
        "skipped": 0,
    }
    (one,) = view["running"]
    assert one["at_edge"][0] == pytest.approx(10 * one["learning_rate"] / 2)
    assert view["finished"] is False


def test_a_path_that_is_no_run_is_refused_as_elsewhere(eos: Eos, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        answer, other = eos("watch", path, "--once"), eos("status", path)
        assert (answer.status, answer.error) == (other.status, other.error) == (2, other.error)
        assert "must be a run directory" in answer.error


@pytest.mark.parametrize("seconds", ["0.4", "0", "-1", "nan"])
def test_looks_that_follow_too_soon_are_refused(eos: Eos, half_done: Path, seconds: str) -> None:
    answer = eos("watch", half_done, "--once", "--every", seconds)
    assert answer.status == 2
    assert f"--every is {seconds}; it must be at least 0.5 seconds" in answer.error


class Reel:
    """In place of a watcher: views one after the other."""

    def __init__(self, *views: View) -> None:
        self._views = list(views)

    def view(self) -> View:
        return self._views.pop(0)


def test_without_a_terminal_a_frame_comes_only_with_news(
    working: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = Watcher(working).view()
    older = replace(first, now=first.now + 9, running=(replace(first.running[0], age_s=9.0),))
    further = replace(first, running=(replace(first.running[0], step=999),))
    end = replace(first, trials=replace(first.trials, running=0, to_do=0), running=())
    command._print_changes(Reel(first, older, further, further, end), "r", 0.0, until_done=True)  # type: ignore[arg-type]
    frames = capsys.readouterr().out.split("\n\nsmall")
    assert len(frames) == 3
    assert "999" in frames[1]
    assert "finished" in frames[2]


def test_until_done_ends_at_once_where_nothing_is_left(
    eos: Eos, tmp_path: Path, config: Path, compute: Callable[..., Path]
) -> None:
    answer = eos("watch", compute(tmp_path / "run", config, trials=4), "--until-done")
    assert answer.status == 0
    assert "4/4 done" in answer.out
    assert answer.out.count("finished") == 1


def submitted(run: Path) -> str:
    name = job_name(run, "small")
    record_submission(run, Submission("17", name, time.time(), "hpc.yaml", None))
    return name


def test_slurm_is_asked_at_most_every_thirty_seconds(half_done: Path, slurm: FakeSlurm) -> None:
    name, now = submitted(half_done), [1000.0]
    ends = time.time() + 3600
    slurm.answers("squeue", queue_line("17", name=name, nodes="n4", ends=ends))
    watcher = Watcher(half_done, clock=lambda: now[0])
    first = watcher.view(wait=True).jobs
    (job,) = first.jobs
    assert (job.job_id, job.phase, job.nodes, first.age_s) == ("17", "running", "n4", 0.0)
    assert job.time_left_s is not None
    for passed in (2.0, 15.0, 29.9):
        now[0] = 1000.0 + passed
        later = watcher.view(wait=True).jobs
        assert later.age_s == pytest.approx(passed)
        assert later.jobs[0].time_left_s == pytest.approx(job.time_left_s - passed)
    assert len(slurm.calls("squeue")) == 1
    now[0] = 1030.0
    assert watcher.view(wait=True).jobs.age_s == 0.0
    assert len(slurm.calls("squeue")) == 2
    assert slurm.calls("sacct", "scontrol", "scancel") == []


@pytest.mark.parametrize("missing", [True, False])
def test_a_queue_that_gives_no_answer_is_said_and_the_rest_is_shown(
    eos: Eos, working: Path, slurm: FakeSlurm, missing: bool
) -> None:
    submitted(working)
    if missing:
        slurm.remove("squeue")
    else:
        slurm.fails("squeue")
    answer = eos("watch", working, "--once")
    assert answer.status == 0
    why = "squeue is not installed here" if missing else "Unable to contact slurm controller"
    assert "the queue is not known (" in answer.out
    assert why in answer.out
    assert "running trials" in answer.out
    assert slurm.calls("sacct") == []


def test_a_run_without_jobs_does_not_ask_slurm(eos: Eos, working: Path, slurm: FakeSlurm) -> None:
    assert "SLURM" not in eos("watch", working, "--once").out
    assert slurm.calls() == []


def test_a_queue_that_hangs_is_not_waited_for(half_done: Path, slurm: FakeSlurm) -> None:
    submitted(half_done)
    slurm.hangs("squeue")
    now = [0.0]
    watcher = Watcher(half_done, clock=lambda: now[0])
    assert watcher.view().jobs.jobs == ()
    wait_for(lambda: slurm.calls("squeue"))
    now[0] = 60.0
    assert watcher.view().jobs.jobs == ()
    assert len(slurm.calls("squeue")) == 1
    with contextlib.suppress(ProcessLookupError):
        os.kill(wait_for(lambda: _number(slurm)), signal.SIGKILL)


def _number(slurm: FakeSlurm) -> int:
    try:
        return slurm.process("squeue")
    except (FileNotFoundError, ValueError):
        return 0


def test_a_record_that_cannot_be_read_does_not_end_the_display(
    working: Path, slurm: FakeSlurm
) -> None:
    submitted(working)
    (working / "slurm" / "jobs" / "18.json").write_text('{"no": "job"}')
    view = Watcher(working).view(wait=True)
    assert "KeyError" in (view.jobs.silence or "")
    assert len(view.running) == 1


class Terminal:
    """A pseudo-terminal with eos watch in it."""

    def __init__(self, *arguments: object) -> None:
        self._master, slave = pty.openpty()
        self._size(slave, 24, 80)
        self.process = subprocess.Popen(
            [*RUN, *map(str, arguments)], stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, env={**os.environ, "TERM": "xterm-256color"},
        )  # fmt: skip
        os.close(slave)
        os.set_blocking(self._master, False)
        self.shown = ""

    def sees(self, text: str) -> None:
        """Wait until a text was shown."""
        wait_for(lambda: text in self._read())

    def resize(self, lines: int, columns: int) -> None:
        self._size(self._master, lines, columns)
        self.process.send_signal(signal.SIGWINCH)

    def ended(self) -> int:
        status = self.process.wait(30)
        self._read()
        return status

    def _read(self) -> str:
        with contextlib.suppress(BlockingIOError, OSError):
            while data := os.read(self._master, 65536):
                self.shown += data.decode(errors="replace")
        return self.shown

    def _size(self, descriptor: int, lines: int, columns: int) -> None:
        termios.tcsetwinsize(descriptor, (lines, columns))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


ENTER, LEAVE, HIDE, SHOW = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?25l", "\x1b[?25h"


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_watching_and_restores_the_terminal(
    working: Path, number: signal.Signals, status: int
) -> None:
    terminal = Terminal(working, "--every", "1000")
    try:
        terminal.sees("Ctrl-C ends watching")
        assert ENTER in terminal.shown
        drawn = terminal.shown.count("Ctrl-C ends watching")
        terminal.resize(30, 40)
        wait_for(lambda: terminal._read().count("Ctrl-C ends watching") > drawn)
        assert "2/4 done" in terminal.shown
        terminal.process.send_signal(number)
        assert terminal.ended() == status
        assert terminal.shown.rindex(LEAVE) > terminal.shown.rindex(ENTER)
        assert terminal.shown.rindex(SHOW) > terminal.shown.rindex(HIDE)
        assert "Traceback" not in terminal.shown
    finally:
        terminal.close()


def test_when_a_run_is_done_its_last_frame_stays(
    tmp_path: Path, config: Path, compute: Callable[..., Path]
) -> None:
    run = compute(tmp_path / "run", config, trials=4)
    terminal = Terminal(run, "--until-done")
    try:
        assert terminal.ended() == 0
        assert "finished" in terminal.shown[terminal.shown.rindex(LEAVE) :]
    finally:
        terminal.close()


def test_what_could_not_be_read_is_read_at_the_next_look(
    working: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = Watcher(working)
    before = watcher.view().trials.failed
    fail(working, next_trial(working), 1, "the first")
    fail(working, next_trial(working), 2, "the second")
    for folder in ("trials", "attempts"):  # older than what may hide a second change
        os.utime(working / folder, (0, 0))

    def refuse(*_: object) -> None:
        raise OSError("stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "catch_up", refuse)
        with pytest.raises(OSError, match="stale"):
            watcher.view()
    assert watcher.view().trials.failed == before + 1


class Trouble(Reel):
    """A reel in which an error stands for a look that fails."""

    def view(self) -> View:
        view: Any = self._views.pop(0)
        if isinstance(view, OSError):
            raise view
        return view


def test_without_a_terminal_a_look_that_fails_is_said_once_and_watching_goes_on(
    working: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = Watcher(working).view()
    end = replace(first, trials=replace(first.trials, running=0, to_do=0), running=())
    stale: Any = OSError("stale\x1b[2J")
    command._print_changes(Trouble(first, stale, stale, end), "r", 0.0, until_done=True)  # type: ignore[arg-type]
    said = capsys.readouterr()
    assert said.err.count("not up to date") == 1
    assert "\x1b" not in said.err
    assert "finished" in said.out


def test_signals_that_are_ignored_stay_so_while_watching() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with command._orderly_end():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
