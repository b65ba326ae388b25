"""Parts of a report on one device: tables, each with rows about several subjects."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from measuring import least
from networks import Case
from script import table

from jobs.device_speed import DeviceSpeed


@dataclass(frozen=True)
class Bench:
    """Where to measure, and what."""

    device: torch.device
    small: bool
    cases: list[Case]
    speed: DeviceSpeed
    folder: Path | None

    def least(self, functions: list[Callable[[], object]]) -> list[float]:
        """The least milliseconds of functions that run in turns."""
        repeats, seconds = (2, 0.0) if self.small else (5, 0.2)
        return least(functions, self.device, repeats, seconds)


@dataclass(frozen=True)
class Part:
    """A table: what it is about, its heads, and the rows of each of its subjects by name."""

    title: str
    note: str
    heads: list[str]
    subjects: Callable[[Bench], dict[str, tuple[Any, ...]]]
    rows: Callable[..., list[list[str]]]

    def show(self, bench: Bench) -> None:
        """Print the table in Markdown; where a subject fails, its row says so, others follow."""
        print(f"\n## {self.title}\n\n{self.note}\n")
        table(self.heads, self._of_all(bench))

    def _of_all(self, bench: Bench) -> Iterator[list[str]]:
        for name, subject in self.subjects(bench).items():
            try:
                yield from self.rows(bench, *subject)
            except Exception as error:  # one failure must not cost the other figures
                traceback.print_exc()
                failure = f"**failed: {type(error).__name__}**"
                yield [name, failure, *[""] * (len(self.heads) - 2)]


def by_case(bench: Bench) -> dict[str, tuple[Case]]:
    """The subjects of parts that are about the networks."""
    return {case.name: (case,) for case in bench.cases}
