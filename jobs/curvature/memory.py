"""What a network's gradients and Hessian products occupy, measured; and what fits into a budget."""

from __future__ import annotations

import functools
import gc
import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from jobs.machine import machine_memory

Graph = TypeVar("Graph")

MARGIN = 1.25
"""Room for what kernels allocate inside themselves, which the probe does not see on a CPU, and for
what the free memory of a GPU is scattered over."""

WORKING_VECTORS = 72
"""Vectors of the size of θ beside the graphs: iterates, gradients, the basis of the eigensolver."""

THIRD = 4.0
"""The peak of a third derivative, in peaks of a product by formulas: seen at up to 2.4 of one by
differentiation, which takes twice as much."""


class MemoryBudgetError(ValueError):
    """A memory budget into which not even one sample fits; ``needed`` bytes would do."""

    def __init__(self, budget: int, needed: int) -> None:
        self.needed = needed
        super().__init__(
            f"memory is {budget / 2**30:.3g} GiB; it must be at least {needed / 2**30:.3g} GiB for "
            "one sample of this problem at a time"
        )


@dataclass(frozen=True)
class Line:
    """Bytes as a function of the samples that go through the network at once."""

    fixed: float
    per_sample: float

    @classmethod
    def through(
        cls, few: int, at_few: int, more: int, at_more: int, least_slope: float = 0.0
    ) -> Line:
        """The line through two measurements, or a steeper one through the first."""
        slope = max((at_more - at_few) / (more - few), least_slope)
        return cls(max(at_few - slope * few, 0.0), slope)

    def at(self, samples: int) -> float:
        """Bytes for a number of samples."""
        return self.fixed + self.per_sample * samples


@dataclass(frozen=True)
class Footprint:
    """Bytes of a chunk: the peak of its gradient, the graph of the gradient that serves Hessian
    products, and the peak of building that graph and of one product, graph included.

    ``vector`` is the size of θ.
    """

    gradient: Line
    graph: Line
    product: Line
    vector: int


@dataclass(frozen=True)
class Chunks:
    """How samples go through the network: ``size`` at once; the gradient graphs of the first
    ``retained`` chunks are kept for all Hessian products at a θ, those of the others are rebuilt
    for each. Third derivatives are taken of ``thrice`` samples at once; None for as many.
    """

    size: int
    retained: int
    thrice: int | None = None


def default_budget(device: str) -> int:
    """Bytes for a trial that is told of no budget: half of the machine's memory, 0.8 of a GPU's.

    It depends on what there is, not on what is free at the moment, so that a repetition goes
    through the same chunks.
    """
    if torch.device(device).type == "cuda":
        return int(0.8 * torch.cuda.get_device_properties(device).total_memory)
    return machine_memory() // 2


def footprint(
    samples: tuple[int, int],
    vector: int,
    gradient: Callable[[int], object],
    graph: Callable[[int], Graph],
    product: Callable[[Graph], object],
    *,
    on_gpu: bool = False,
) -> Footprint:
    """Measure, at two numbers of samples, what gradients, their graphs and products allocate.

    On a GPU that is what its allocator says, workspaces of kernels included. What a library keeps
    for good is allocated by a first round, which does not count.

    Args:
        samples: a small number of samples, and a larger one.
        vector: bytes of θ.
        gradient: evaluates the gradient over a number of samples.
        graph: builds the graph of the gradient over a number of samples, and returns what holds it.
        product: makes a Hessian product with what ``graph`` returned.
        on_gpu: whether they compute on a GPU.
    """
    few, more = samples
    if on_gpu:
        _measure(more, gradient, graph, product, _OfGpu())
    at_few, at_more = (
        _measure(count, gradient, graph, product, _OfGpu() if on_gpu else _Allocations())
        for count in samples
    )
    graphs = Line.through(few, at_few.graph, more, at_more.graph)
    # With few samples a peak may be that of the parameters, which hides the samples' own: a
    # gradient needs at most what its graph holds, a product as much again.
    slope = graphs.per_sample
    gradients = Line.through(few, at_few.gradient, more, at_more.gradient, slope)
    products = Line.through(few, at_few.product, more, at_more.product, 2 * slope)
    return Footprint(gradients, graphs, products, vector)


def working_bytes(needed: Footprint, size: int) -> float:
    """What a trial takes while this number of samples goes through the network at once."""
    product = max(needed.gradient.at(size), needed.product.at(size))
    return WORKING_VECTORS * needed.vector + MARGIN * product


def plan(needed: Footprint, samples: int, budget: int, chunk_bytes: float) -> Chunks:
    """The chunks for n samples within a budget of bytes.

    Chunks are so large that the graph of one takes ``chunk_bytes``, smaller where the budget asks
    for it, and all of nearly the same size. As many graphs are retained as fit beside the work on
    one chunk.

    Raises:
        MemoryBudgetError: a single sample does not fit.
    """

    working = functools.partial(working_bytes, needed)
    if working(1) > budget:
        raise MemoryBudgetError(budget, math.ceil(1.01 * working(1)))
    preferred = (chunk_bytes - needed.graph.fixed) / max(needed.graph.per_sample, 1.0)
    per_sample = MARGIN * max(needed.gradient.per_sample, needed.product.per_sample)
    fitting = 1 + (budget - working(1)) / max(per_sample, 1.0)
    if working(samples) <= budget:  # the larger one of two lines, where that begins with the other
        fitting = samples
    most = int(min(max(preferred, 1), max(fitting, 1), samples))
    chunks = -(-samples // most)
    size = -(-samples // chunks)
    return of_size(needed, size, samples, budget)


def of_size(needed: Footprint, size: int, samples: int, budget: int) -> Chunks:
    """The chunks of a size for n samples: as many graphs are retained as fit beside the work on
    one of them.
    """
    chunks, left = -(-samples // size), budget - working_bytes(needed, size)
    retained = min(chunks, int(max(left, 0) / (MARGIN * max(needed.graph.at(size), 1.0))))
    per_sample = THIRD * MARGIN * max(needed.product.per_sample, 1.0)
    fitting = (budget - WORKING_VECTORS * needed.vector) / per_sample
    thrice = None if fitting >= size else max(int(fitting), 1)
    # Of one chunk, what is in work is what is retained.
    return Chunks(size, retained if chunks > 1 else 1, thrice)


@dataclass(frozen=True)
class _Measured:
    gradient: int
    graph: int
    product: int


def _measure(
    count: int,
    gradient: Callable[[int], object],
    graph: Callable[[int], Graph],
    product: Callable[[Graph], object],
    memory: _Allocations | _OfGpu,
) -> _Measured:
    with memory as allocations:
        gradient(count)
        of_gradient = allocations.restart()
        held = graph(count)
        of_graph = allocations.current
        product(held)
        of_product = allocations.peak
        del held
    return _Measured(of_gradient, of_graph, of_product)


class _Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages that operations bring into being while it is active."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: torch would import its compiler to tell it so, for two seconds in each process."""
        return False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.current = self.peak = 0
        self._alive: set[int] = set()

    def restart(self) -> int:
        """The peak so far; from here on, what is alive now does not count."""
        peak, self.current, self.peak = self.peak, 0, 0
        self._alive = set()
        return peak

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._watch(leaf)
        return result

    def _watch(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive:
            return
        alive = self._alive
        alive.add(key)
        self.current += size
        self.peak = max(self.peak, self.current)

        def gone() -> None:
            alive.discard(key)
            if alive is self._alive:
                self.current -= size

        weakref.finalize(storage, gone)


class _OfGpu:
    """What the allocator of the current GPU has given out since this began."""

    def __init__(self) -> None:
        self._before = 0

    def __enter__(self) -> _OfGpu:
        gc.collect()
        self.restart()
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def restart(self) -> int:
        """The peak so far; from here on, what is alive now does not count."""
        peak = self.peak
        torch.cuda.reset_peak_memory_stats()
        self._before = torch.cuda.memory_allocated()
        return peak

    @property
    def current(self) -> int:
        """Bytes that are alive."""
        return torch.cuda.memory_allocated() - self._before

    @property
    def peak(self) -> int:
        """The most bytes that were alive at once."""
        return torch.cuda.max_memory_allocated() - self._before
