"""The command: `python slurm/loopback up|down|status`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from loopback.cluster import Loopback
from loopback.errors import LoopbackError

FOLDER = Path(__file__).resolve().parents[2] / ".slurm"

EXAMPLE = """example:
  python slurm/loopback up --nodes 3 --gpus 2 --accounting --set MaxArraySize=101
  export SLURM_CONF=$PWD/.slurm/slurm.conf
  srun --nodes 3 --gpus-per-node 2 bash -c 'echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES'
  python slurm/loopback down
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, or 1 with a sentence on stderr."""
    options = _parser().parse_args(argv)
    try:
        return {"up": _up, "down": _down, "status": _status}[options.action](options)
    except LoopbackError as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python slurm/loopback",
        description="A real SLURM on this host, below one folder, with pretended nodes and GPUs.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True)
    up = actions.add_parser("up", help="bring it up; prints the line that makes commands find it")
    up.add_argument("--nodes", type=int, default=Loopback.nodes, metavar="N")
    for name in ("gpus", "cpus", "memory-mib"):
        usual = getattr(Loopback, name.replace("-", "_"))
        up.add_argument(f"--{name}", type=int, default=usual, metavar="N", help="per node")
    up.add_argument("--accounting", action="store_true", help="with slurmdbd, so that sacct works")
    up.add_argument(
        "--set", action="append", default=[], type=_setting, metavar="NAME=VALUE",
        help="a line of slurm.conf that replaces or adds to the usual ones",
    )  # fmt: skip
    up.add_argument("--timeout", type=float, default=60, metavar="SECONDS")
    down = actions.add_parser("down", help="end it with its jobs, and remove its files")
    status = actions.add_parser("status", help="say what runs")
    for action in (up, down, status):
        action.add_argument("--folder", type=Path, default=FOLDER, help="usually %(default)s")
    return parser


def _setting(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise argparse.ArgumentTypeError(f"{text} is not of the form NAME=VALUE")
    return name, value


def _up(options: argparse.Namespace) -> int:
    cluster = Loopback(
        options.folder, options.nodes, options.gpus, options.cpus, options.memory_mib,
        options.accounting, dict(options.set),
    )  # fmt: skip
    cluster.up(options.timeout)
    print(f"export SLURM_CONF={cluster.environment['SLURM_CONF']}")
    gpus = f" --gpus-per-node {cluster.gpus}" if cluster.gpus else ""
    print(
        "SLURM is up; copy the line above into your shell, then try:\n"
        f"  srun --nodes {cluster.nodes}{gpus} "
        "bash -c 'echo $SLURMD_NODENAME: GPUs $CUDA_VISIBLE_DEVICES'",
        file=sys.stderr,
    )
    return 0


def _down(options: argparse.Namespace) -> int:
    cluster = Loopback.found(options.folder)
    if cluster is None:
        print(f"no SLURM is up in {options.folder}", file=sys.stderr)
        return 0
    if os.geteuid() != 0:
        raise LoopbackError(f"user id {os.geteuid()}: root brought it up and can take it down")
    cluster.down()
    print("SLURM is down and its files are removed", file=sys.stderr)
    return 0


def _status(options: argparse.Namespace) -> int:
    cluster = Loopback.found(options.folder)
    if cluster is None:
        print(f"no SLURM is up in {options.folder}", file=sys.stderr)
        return 0
    for name, running in cluster.daemons().items():
        print(f"{name}: {f'process {running[-1].pid}' if running else 'ended'}")
    print(cluster.command("sinfo"), end="")
    print(cluster.command("squeue"), end="")
    return 0
