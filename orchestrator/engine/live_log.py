"""The live log of a run: what trials record is handed to sinks, by one thread for each.

A sink can be slow, full, unreachable or wrong, and none of that may delay or end a run: a sink that
fails or falls behind is given up with one warning.
"""

from __future__ import annotations

import json
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.cluster.processes import shielded
from orchestrator.cluster.ray_private import mlflow_runs
from orchestrator.engine.sinks import LoggedTrial, Sink, folder_of, make_callback, metrics
from orchestrator.engine.work import Assignment, NewPoints, Report, Work
from orchestrator.store import write_bytes_whole

MOST_WAITING = 10_000
"""Reports that may wait for a sink: some minutes of a large run, and little memory."""

CLOSE_SECONDS = 30.0
"""How long a sink may take for what waits when the run ends."""

_Item = tuple[tuple[NewPoints, ...], Mapping[str, Assignment]]


class LiveLog:
    """Logs every trial of a run as one run of each sink, its GD steps as steps.

    Args:
        run: the run directory.
        sweep: the sweep's name.
        label: gives a column in a few words, by its column_id.
        sinks: where to log.
        warn: told, by the thread that calls, what the user should know.
    """

    def __init__(
        self,
        run: Path,
        sweep: str,
        label: Callable[[str], str],
        sinks: Sequence[Sink],
        warn: Callable[[str], None],
    ) -> None:
        self._warn = warn
        self._threads = [_SinkThread(sink, run, sweep, label) for sink in dict.fromkeys(sinks)]

    def take(self, work: Work, report: Report) -> None:
        """Log what a worker has reported; returns at once."""
        if report.new_points:
            assignments = {one.trial.trial_id: one for one in work.assignments}
            for thread in self._threads:
                thread.put((report.new_points, assignments))
        self._pass_warnings()

    def close(self) -> None:
        """Let the sinks take what waits, for CLOSE_SECONDS, and end their runs."""
        for thread in self._threads:
            thread.put(None)
        for thread in self._threads:
            thread.join()
        self._pass_warnings()

    def _pass_warnings(self) -> None:
        for thread in self._threads:
            while thread.warnings:
                self._warn(thread.warnings.popleft())


class _SinkThread:
    """One sink, and the only thread that uses it."""

    def __init__(self, sink: Sink, run: Path, sweep: str, label: Callable[[str], str]) -> None:
        self.warnings: deque[str] = deque()
        self._sink, self._run, self._sweep, self._label = sink, run, sweep, label
        self._queue: queue.Queue[_Item | None] = queue.Queue(MOST_WAITING)
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"log-{sink}", daemon=True)
        with shielded():
            self._thread.start()

    def put(self, item: _Item | None) -> None:
        """Let the sink log these points; None ends it."""
        if self._given_up.is_set():
            return
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self._give_up(f"it is {MOST_WAITING} reports behind")

    def join(self) -> None:
        if self._given_up.is_set():
            return  # it may hang in a request; the thread does not keep the process alive
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self._give_up(f"it did not take what was left within {CLOSE_SECONDS:.0f} s")

    def _give_up(self, reason: str) -> None:
        if not self._given_up.is_set():
            self._given_up.set()
            self.warnings.append(
                f"logging to {self._sink} has ended: {reason}; the run goes on without it, and "
                "the tables have everything"
            )

    def _work(self) -> None:
        try:
            writer = _Writer(self._sink, self._run, self._sweep, self._label)
            while (item := self._queue.get()) is not None and not self._given_up.is_set():
                writer.log(*item)
            if not self._given_up.is_set():
                writer.close()
        except BaseException as error:  # some clients end their thread by SystemExit
            text = " ".join(str(error).split()) or "no details"
            self._give_up(f"{type(error).__name__}: {text}")


class _Writer:
    """Hands recorded points to a sink's callback, every step of a trial once."""

    def __init__(self, sink: Sink, run: Path, sweep: str, label: Callable[[str], str]) -> None:
        self._folder = folder_of(run, sink)
        self._sweep, self._label = sweep, label
        self._positions = _Positions(self._folder)
        self._callback = make_callback(sink, run, sweep)
        self._started: dict[str, tuple[LoggedTrial, _Position]] = {}

    def log(self, new_points: Sequence[NewPoints], assignments: Mapping[str, Assignment]) -> None:
        """Log the points of some trials, and end the runs of those that have ended."""
        for one in new_points:
            trial, position = self._start(assignments[one.trial_id])
            new = [point for point in one.points if point.step > position.step]
            if new:
                position = _Position(new[-1].step, position.run)
                self._started[one.trial_id] = (trial, position)
                self._positions.write(one.trial_id, position)
            for point in new:
                self._callback.log_trial_result(point.step, trial, metrics(point, trial.of))
            if one.ended:
                self._callback.log_trial_end(trial, failed=False)
                self._positions.remove(one.trial_id)
                del self._started[one.trial_id]

    def close(self) -> None:
        """End the runs of trials that were interrupted or have failed; they may be resumed."""
        for trial, _ in self._started.values():
            self._callback.log_trial_end(trial, failed=True)
        self._started = {}
        self._callback.on_experiment_end([])

    def _start(self, assignment: Assignment) -> tuple[LoggedTrial, _Position]:
        trial_id = assignment.trial.trial_id
        if trial_id not in self._started:
            label = self._label(assignment.column_id)
            trial = LoggedTrial(assignment, label, self._folder, self._sweep)
            trial.init_local_path()
            position = self._positions.read(trial_id)
            runs = mlflow_runs(self._callback)
            if position.run is not None and runs is not None:
                runs[trial] = position.run
            self._callback.log_trial_start(trial)
            name = position.run if runs is None else str(runs[trial])
            self._started[trial_id] = (trial, _Position(position.step, name))
        return self._started[trial_id]


@dataclass(frozen=True)
class _Position:
    """The last ``step`` that was logged of a trial, and the sink's own name of its ``run``."""

    step: int = -1
    run: str | None = None


class _Positions:
    """A small file in the sink's folder for each trial that is logged and has not ended.

    It is written before its steps are logged: after a kill some may be missing in the sink, but
    none is there twice; the tables have them all.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / ".steps"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read(self, trial_id: str) -> _Position:
        """How far a trial was logged; nothing where its file is missing or damaged."""
        try:
            content = json.loads((self._folder / trial_id).read_text())
            return _Position(int(content["step"]), content["run"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return _Position()

    def write(self, trial_id: str, position: _Position) -> None:
        """Keep how far a trial is logged."""
        write_bytes_whole(self._folder / trial_id, json.dumps(vars(position)).encode())

    def remove(self, trial_id: str) -> None:
        """A trial that has ended is never resumed."""
        (self._folder / trial_id).unlink(missing_ok=True)
