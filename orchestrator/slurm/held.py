"""``python -m orchestrator.slurm.held -u -m MODULE …``: start a module with signals held back.

Importing torch takes seconds, and a job may be told to stop meanwhile. Until the run heeds signals
they wait, instead of ending the process where SLURM would not put the job back. Nothing is imported
here but the standard library, so that this is in force at once.
"""

from __future__ import annotations

import runpy
import sys

from orchestrator.signals import hold


def main() -> None:
    """Run the module that the arguments name as Python would: unbuffered, as the main module."""
    hold()
    unbuffered, option, module, *arguments = sys.argv[1:]
    if (unbuffered, option) != ("-u", "-m"):
        sys.exit("usage: python -m orchestrator.slurm.held -u -m MODULE ...")
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(write_through=True)  # type: ignore[union-attr]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
