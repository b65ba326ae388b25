"""What orchestration costs: the wall time per trial above the bare computation.

    .venv/bin/python benchmarks/overhead.py [--trials 500] [--cases bare batches "plain Tune"]

The same GD trials of some milliseconds each run five times, in one worker of one thread: bare, in a
loop; by this package as it is, which computes up to 64 of them together in a batch; by this package
in batches of one, of which a Tune trial carries out many; the same with one Tune trial each; and by
plain Ray Tune (a class Trainable with reuse_actors, a grid search, its default loggers), which
stores nothing but what its loggers write. Starting Ray, importing torch and reading the dataset are
not counted: the clock starts with the first GD trial (for plain Tune, when the first trial has
ended) and stops when the last one has ended.

Overhead of a trial = (wall time of all − bare wall time of all) / trials.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from script import parse, table


def rates(trials: int) -> list[float]:
    """Learning rates of trials that all take about as long."""
    return [0.06 + 0.06 * i / trials for i in range(trials)]


def sweep_text(trials: int) -> str:
    """A sweep of so many tiny trials."""
    return f"""
name: overhead
problem: {{dataset: digits, n_train: 20, width: 8, depth: 1, activation: tanh, loss: mse}}
eta: {{unit: absolute, values: {rates(trials)}}}
stop: {{epsilon: 0.4, max_steps: 1000}}
measure: {{trajectory_every: 1000}}
"""


def bare_trial(rate: float) -> float:
    """One trial without any orchestration; when it ended."""
    from jobs import Problem, Protocol, Trial, run_trial

    problem = Problem(dataset="digits", n_train=20, width=8, depth=1)
    protocol = Protocol(epsilons=(0.4,), max_steps=1000, trajectory_every=1000)
    trial = Trial(problem=problem, protocol=protocol, kind="gd", learning_rate=rate)
    run_trial(trial, threads=1)
    return time.time()


def bare(trials: int) -> float:
    """Seconds for all trials in a loop."""
    bare_trial(rates(trials)[0])  # torch and the dataset are there now
    start = time.time()
    for rate in rates(trials):
        bare_trial(rate)
    return time.time() - start


def ours(trials: int, **batching: float) -> float:
    """Seconds from the start of the first GD trial to the end of the last, by this package."""
    from orchestrator import sweep
    from orchestrator.cluster import here
    from orchestrator.engine import RunEnvironment, execute, prepare
    from orchestrator.plan import Batching
    from orchestrator.store import Store

    # One slot for trials; the driver has the other CPUs.
    environment = RunEnvironment(here({}, usable=[0]))
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        whole = prepare(run, sweep.parse(sweep_text(trials)))
        execute(
            run,
            whole.name,
            whole.columns,
            observe=lambda snapshot: None,
            warn=lambda text: print(text, file=sys.stderr),
            environment=environment,
            batching=Batching(**batching),
        )
        rows = [row for row in Store(run).rows("trials") if row["kind"] == "gd"]
        assert len(rows) == trials, len(rows)
        first = min(row["started_at"] for row in rows)
        last = max(row["finished_at"] for row in rows)
    return (last - first).total_seconds()


def plain_tune(trials: int) -> float:
    """Seconds from the first trial's end to the last, by Ray Tune as its documentation shows it."""
    import ray
    from ray import tune

    class Plain(tune.Trainable):
        def step(self) -> dict[str, object]:
            return {"ended": bare_trial(self.config["rate"]), "done": True}

        def reset_config(self, new_config: dict[str, object]) -> bool:
            self.config = new_config
            return True

        def save_checkpoint(self, folder: str) -> None:
            return None

    with tempfile.TemporaryDirectory() as folder:
        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        results = tune.Tuner(
            Plain,
            param_space={"rate": tune.grid_search(rates(trials))},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
        ends = [result.metrics["ended"] for result in results]
        ray.shutdown()
    return max(ends) - min(ends)


CASES = {
    "bare": bare,
    "batches": ours,
    "batches of one": partial(ours, most_trials=1),
    "one by one": partial(ours, most_trials=1, work_seconds=0.0),
    "plain Tune": plain_tune,
}


def main() -> None:
    """Run every case in a process of its own and print what each costs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--case", choices=list(CASES), help=argparse.SUPPRESS)
    options = parse(parser, trials=3, cases=["bare", "one by one", "plain Tune"])
    if options.case:
        os.nice(19)  # Ray starts its workers so: on a busy machine all cases must wait alike
        print(json.dumps(CASES[options.case](options.trials)))
        return
    print(f"{options.trials} trials in one worker\n")
    table(["case", "s", "ms a trial above bare", "÷ bare"], measured(options))


def measured(options: argparse.Namespace) -> Iterator[list[str]]:
    """A row for each case."""
    bare_seconds = None
    for case in options.cases:
        ended = subprocess.run(
            [sys.executable, __file__, "--trials", str(options.trials), "--case", case],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        took = float(json.loads(ended.stdout.splitlines()[-1]))
        if case == "bare":
            bare_seconds = took
        if bare_seconds is None:
            yield [case, f"{took:.3f}", "–", "–"]
            continue
        over = (took - bare_seconds) / options.trials * 1e3
        yield [case, f"{took:.3f}", f"{over:.1f}", f"{took / bare_seconds:.2f}"]


if __name__ == "__main__":
    main()
