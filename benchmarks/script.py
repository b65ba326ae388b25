"""What the scripts share: a smallest size each, and tables in Markdown."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any


def parse(parser: argparse.ArgumentParser, **smallest: Any) -> argparse.Namespace:
    """The options; with ``--smallest`` these values are the defaults.

    That size takes seconds, needs neither a GPU nor files of data, and goes through all that the
    script does. ``tests/benchmarks`` runs it.
    """
    about = "seconds on any machine, to see that it runs: its figures mean nothing"
    parser.add_argument("--smallest", action="store_true", help=about)
    if parser.parse_known_args()[0].smallest:
        parser.set_defaults(**smallest)
    return parser.parse_args()


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; each row as soon as it is there."""
    print(f"| {' | '.join(heads)} |")
    print(f"|{'---|' * len(heads)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)
