"""The live log of a run: what trials record, handed to Tune's callbacks by threads of their own.

A sink can be slow, full, away or wrong. Nothing of that may hold up or end a run: each sink has a
thread and a queue, and is given up with one warning when it fails or falls behind.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from orchestrator.cluster.processes import shielded
from orchestrator.cluster.ray_private import mlflow_runs
from orchestrator.engine.sinks.logged import LoggedTrial, metrics
from orchestrator.engine.sinks.sink import Sink, folder_of, make_callback
from orchestrator.engine.sinks.steps import Logged, LoggedSteps
from orchestrator.engine.work import Assignment, NewPoints, Report, Work

MOST_WAITING = 10_000
"""Reports that may wait for a sink: some minutes of a large run, and little memory."""

CLOSE_SECONDS = 30.0
"""For a sink to take what waits when the run ends."""

_Item = tuple[tuple[NewPoints, ...], Mapping[str, Assignment]]


class LiveLog:
    """Logs every trial of a run as one run of each sink, its GD steps as steps.

    Args:
        run: the run directory.
        sweep: the sweep's name.
        labels: each column in a few words, by column_id.
        sinks: where to log.
        warn: told, by the thread that calls, what the user should know.
    """

    def __init__(
        self,
        run: Path,
        sweep: str,
        labels: Mapping[str, str],
        sinks: Sequence[Sink],
        warn: Callable[[str], None],
    ) -> None:
        self._warn = warn
        self._threads = [_SinkThread(sink, run, sweep, labels) for sink in dict.fromkeys(sinks)]

    def take(self, work: Work, report: Report) -> None:
        """Log what a worker has reported; returns at once."""
        if report.new_points:
            assignments = {one.trial.trial_id: one for one in work.assignments}
            for thread in self._threads:
                thread.put((report.new_points, assignments))
        self._pass_warnings()

    def close(self) -> None:
        """Let the sinks take what waits, for a while, and end their runs."""
        for thread in self._threads:
            thread.end()
        for thread in self._threads:
            thread.join()
        self._pass_warnings()

    def _pass_warnings(self) -> None:
        for thread in self._threads:
            while thread.warnings:
                self._warn(thread.warnings.popleft())


class _SinkThread:
    """One sink, and the thread that alone talks to it."""

    def __init__(self, sink: Sink, run: Path, sweep: str, labels: Mapping[str, str]) -> None:
        self.warnings: deque[str] = deque()
        self._sink, self._run, self._sweep, self._labels = sink, run, sweep, labels
        self._queue: queue.Queue[_Item | None] = queue.Queue(MOST_WAITING)
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"log-{sink}", daemon=True)
        with shielded():
            self._thread.start()

    def put(self, item: _Item) -> None:
        if self._given_up.is_set():
            return
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self._give_up(f"it is {MOST_WAITING} reports behind")

    def end(self) -> None:
        if not self._given_up.is_set():
            try:
                self._queue.put_nowait(None)
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
            writer = _Writer(self._sink, self._run, self._sweep, self._labels)
            while (item := self._queue.get()) is not None and not self._given_up.is_set():
                writer.log(*item)
            if not self._given_up.is_set():
                writer.close()
        except BaseException as error:  # some clients end their thread by SystemExit
            text = " ".join(str(error).split()) or "no details"
            self._give_up(f"{type(error).__name__}: {text}")


class _Writer:
    """Hands recorded points to a sink's callback, every step of a trial once."""

    def __init__(self, sink: Sink, run: Path, sweep: str, labels: Mapping[str, str]) -> None:
        self._folder = folder_of(run, sink)
        self._sweep, self._labels = sweep, labels
        self._steps = LoggedSteps(self._folder)
        self._callback = make_callback(sink, run, sweep)
        self._begun: dict[str, tuple[LoggedTrial, Logged]] = {}

    def log(self, recorded: Sequence[NewPoints], assignments: Mapping[str, Assignment]) -> None:
        """Log the points of some trials, and end the runs of those that have ended."""
        for one in recorded:
            trial, logged = self._begin(assignments[one.trial_id])
            new = [point for point in one.points if point.step > logged.step]
            if new:
                logged = Logged(new[-1].step, logged.run)
                self._begun[one.trial_id] = (trial, logged)
                self._steps.write(one.trial_id, logged)
            for point in new:
                self._callback.log_trial_result(point.step, trial, metrics(point, trial.eta))
            if one.ended:
                self._callback.log_trial_end(trial, failed=False)
                self._steps.forget(one.trial_id)
                del self._begun[one.trial_id]

    def close(self) -> None:
        """End the runs of trials that were interrupted or have failed; they may be resumed."""
        for trial, _ in self._begun.values():
            self._callback.log_trial_end(trial, failed=True)
        self._begun = {}
        self._callback.on_experiment_end([])

    def _begin(self, assignment: Assignment) -> tuple[LoggedTrial, Logged]:
        trial_id = assignment.trial.trial_id
        if trial_id not in self._begun:
            label = self._labels[assignment.column_id]
            trial = LoggedTrial(assignment, label, self._folder, self._sweep)
            trial.init_local_path()
            logged = self._steps.read(trial_id)
            runs = mlflow_runs(self._callback)
            if logged.run is not None and runs is not None:
                runs[trial] = logged.run
            self._callback.log_trial_start(trial)
            name = logged.run if runs is None else str(runs[trial])
            self._begun[trial_id] = (trial, Logged(logged.step, name))
        return self._begun[trial_id]
