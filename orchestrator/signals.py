"""The signals that end a run, and ``python -m orchestrator.signals``: start with them blocked.

Nothing is imported here but the standard library, so that they can be blocked at once.
"""

from __future__ import annotations

import runpy
import signal
import sys

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Ctrl-C, a polite kill, a closed terminal, and what clusters send before a time limit."""


def hold() -> set[int | signal.Signals]:
    """Let signals wait from now on; returns those that waited before."""
    return signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def main() -> None:
    """``-u -m MODULE …``: run a module as Python would, unbuffered, with the signals blocked.

    Importing torch takes seconds, and a SLURM job may be told to stop meanwhile. Until the run
    heeds signals they wait, instead of ending the process where SLURM would not requeue the job.
    """
    hold()
    unbuffered, option, module, *arguments = sys.argv[1:]
    if (unbuffered, option) != ("-u", "-m"):
        sys.exit("usage: python -m orchestrator.signals -u -m MODULE ...")
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(write_through=True)  # type: ignore[union-attr]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
