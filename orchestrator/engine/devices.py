"""Which columns get a GPU, where the sweep leaves it to the run."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from jobs.batch_bounds import BatchBounds
from jobs.spec import Problem, SpecError
from orchestrator.cluster import Allocation
from orchestrator.engine.capacity import BATCHED
from orchestrator.sweep import Column


def with_devices(
    columns: Iterable[Column], allocation: Allocation, pays: Callable[[Problem], bool]
) -> tuple[Column, ...]:
    """The columns, with a GPU for each that leaves it open and that pays on one, if there are any.

    What a trial was computed on stands in its rows. ``pays`` is asked where there is a GPU.
    """
    columns = tuple(columns)
    if not any(map(_is_open, columns)) or not _gpus(allocation):
        return columns
    return tuple(
        dataclasses.replace(
            column, resources=dataclasses.replace(column.resources, gpus_per_worker=1)
        )
        if _is_open(column) and pays(column.problem)
        else column
        for column in columns
    )


def pays_by(bounds: Mapping[str, BatchBounds]) -> Callable[[Problem], bool]:
    """Whether a problem pays on a GPU, by the bounds of a run directory.

    These do not change from run to run, and so it is always the same.
    """

    def pays(problem: Problem) -> bool:
        pays_from = bounds["cuda"].pays_from
        return pays_from is not None and _size(problem) >= pays_from

    return pays


def _is_open(column: Column) -> bool:
    return column.resources.gpus_per_worker is None and column.resources.workers == 1


def _gpus(allocation: Allocation) -> int:
    """How many GPUs this machine has for the run, as far as can be known without torch."""
    if allocation.gpus is not None:
        return allocation.gpus
    return 0 if os.environ.get("CUDA_VISIBLE_DEVICES") == "" else len(gpu_names())


def gpu_names() -> list[str]:
    """The name of each GPU of this machine, by its driver."""
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    with suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=20.0)
        return answer.stdout.splitlines()
    return []


def _size(problem: Problem) -> float:
    """Of a problem, as :class:`~jobs.batch_bounds.BatchBounds` has it; of one with convolutions or
    attention, which a GPU computes far faster, without bounds.
    """
    if problem.architecture not in BATCHED:
        return float("inf")
    from jobs.datasets import DatasetError
    from jobs.problem import vector_bytes  # with torch

    try:
        return vector_bytes(problem) * problem.n_train
    except (DatasetError, SpecError):
        return 0.0  # the trial itself will say why
