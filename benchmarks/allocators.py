"""A gradient and a Hessian product by chunk size and by the settings of glibc's allocator.

Part of curvature.py, which runs this file once for each network and allocator, in a process of its
own: the settings hold for a whole process.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

import networks
from measuring import resident, timed
from networks import Case
from script import table

from jobs.curvature.hessian import Hessian
from jobs.curvature.memory import Chunks
from jobs.numerics import reproducible
from jobs.objective import exact_attention

CHUNKS = {"fc": (250, 500, 1000), "cnn": (50, 100, 250, 500, 1000), "vit": (8, 16, 64)}

TUNABLES = (
    "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=100000000000:"
    "glibc.malloc.top_pad=268435456"
)
ALLOCATORS = {
    "default": "",
    "mallopt": "",
    "tunables": TUNABLES,
    "and hugetlb": TUNABLES + ":glibc.malloc.hugetlb=1",
}
"""GLIBC_TUNABLES of each; ``mallopt`` makes the same settings inside the running process."""

MALLOPT = ((-4, 0), (-1, 2**31 - 1), (-2, 256 * 2**20))
"""M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD (``malloc.h``)."""


def compare(name: str, samples: int, options: argparse.Namespace) -> None:
    """Print the table of one network: a row for each chunk size, a column for each allocator."""
    columns = {}
    for allocator in options.allocators.split(","):
        command = [sys.executable, __file__, name, str(samples), allocator]
        command += ["--threads", str(options.threads), "--repeats", str(options.repeats)]
        command += ["--cifar", str(options.cifar)] if options.cifar else []
        environment = os.environ | {"GLIBC_TUNABLES": ALLOCATORS[allocator]}
        ended = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        columns[allocator] = json.loads(ended.stdout)
    rows = [
        [row, *(column[row] for column in columns.values())] for row in next(iter(columns.values()))
    ]
    print(
        f"\n{name}, n = {samples}: milliseconds of a gradient / of a product with retained graphs, "
        f"best of {options.repeats + 1}\n"
    )
    table(["samples at once", *columns], rows)


def measure(case: Case, repeats: int) -> dict[str, str]:
    """Gradient and product by chunk size, and at the end the peak memory of the process."""
    theta, found = case.theta, {}
    for size in (*CHUNKS[case.name], case.samples):
        if size > case.samples:
            continue
        goal = case.objective(Chunks(size, -(-case.samples // size)))
        gradient = min(timed(lambda goal=goal: goal.gradient(theta))[0] for _ in range(repeats + 1))
        hessian = Hessian(goal, theta)
        product = min(timed(lambda H=hessian: H @ theta)[0] for _ in range(repeats + 1))
        del hessian
        found[str(size)] = f"{1e3 * gradient:.0f} / {1e3 * product:.0f}"
    found["peak of the process"] = f"{resident('VmHWM'):.0f} MiB"
    return found


def set_allocator() -> None:
    """Make the settings in this process."""
    mallopt = ctypes.CDLL(None).mallopt
    mallopt.argtypes = [ctypes.c_int, ctypes.c_int]
    for parameter, value in MALLOPT:
        if mallopt(parameter, value) != 1:
            raise SystemExit(f"mallopt({parameter}, {value}) was refused; glibc takes it")


def main() -> None:
    """Measure one network with one allocator and print a JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=list(CHUNKS))
    parser.add_argument("samples", type=int)
    parser.add_argument("allocator", choices=list(ALLOCATORS))
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if options.allocator == "mallopt":
        set_allocator()
    with reproducible(options.threads), exact_attention():
        case = networks.case(options.name, options.samples, options.cifar)
        print(json.dumps(measure(case, options.repeats)))


if __name__ == "__main__":
    main()
