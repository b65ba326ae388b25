"""A process that works on a run directory and may be killed: python work.py RUN MODE [NUMBER…].

write FIRST COUNT ROUNDS: write trials FIRST … FIRST+COUNT-1 to every table, a new attempt each
round, without end if ROUNDS is 0.
compact: compact without end.
lock: hold the lock of compactions until standard input ends, shared, so that only who wants it
alone is kept out.
writers NUMBER COUNT ROUNDS: fork so many writers, of COUNT trials each.
fork COUNT: for every line on standard input, fork a writer of COUNT trials and a compactor, print
their process ids, and wait for their end before the next line.
"""

import fcntl
import itertools
import os
import sys
from pathlib import Path

from orchestrator.store.compaction import compact
from orchestrator.store.write import write_part


def write(run: Path, first: int, count: int, rounds: int, attempt: int = 1) -> None:
    attempts = itertools.count(attempt)
    for attempt in itertools.islice(attempts, rounds) if rounds else attempts:
        for number in range(first, first + count):
            trial = f"{number:016x}"
            key = {"trial_id": trial, "attempt": attempt}
            rows = [{**key, "column_id": "c", "epsilon": e, "steps": attempt} for e in (0.1, 0.05)]
            steps = [{**key, "column_id": "c", "step": step} for step in range(3)]
            write_part(run, "trajectories", trial, steps)
            write_part(run, "trials", trial, rows)
            write_part(run, "attempts", f"{trial}-{attempt}", [{**key, "outcome": "settled"}])


def compact_for_ever(run: Path) -> None:
    while True:
        compact(run)


def writers(run: Path, number: int, count: int, rounds: int) -> None:
    children = []
    for first in range(0, number * count, count):
        child = os.fork()
        if not child:
            write(run, first, count, rounds)
            os._exit(0)
        children.append(child)
    sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0 for child in children))


def fork(run: Path, count: int) -> None:
    for round_, _ in enumerate(iter(sys.stdin.readline, "")):
        children = []
        for work in (
            lambda n=round_: write(run, 0, count, 0, 1000 * n),
            lambda: compact_for_ever(run),
        ):
            child = os.fork()
            if not child:
                work()
            children.append(child)
        print(*children, flush=True)
        for child in children:
            os.waitpid(child, 0)


def lock(run: Path) -> None:
    with (run / "claims" / "compact.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        print("locked", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    print("ready", flush=True)
    modes = {
        "write": write,
        "writers": writers,
        "compact": compact_for_ever,
        "fork": fork,
        "lock": lock,
    }
    modes[sys.argv[2]](Path(sys.argv[1]), *map(int, sys.argv[3:]))
