"""Computations that are recorded as CUDA graphs, and launched as a whole from then on.

A small network is bound by the launches of its kernels. A graph launches them all at once, and
finds the same bits. It reads and writes memory of its own: what it is called with is copied there,
and what it finds is copied from there.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

Held = TypeVar("Held")
Function = Callable[..., tuple[Tensor, ...]]
Operator = Callable[[Tensor], Tensor]

WORTH = 32
"""Calls with tensors of one shape before their computation is recorded, which takes as long as a
few calls, and memory."""

WORTH_BLOCKS = 8
"""The same, of blocks of steps."""

WORTH_POINTS = 4
"""Points at which an operator was made before it is recorded."""

MOST = 4
"""Shapes of which recordings are kept."""

SHARE = 1 / 16
"""Of a GPU's memory, what a computation may take that is recorded: it occupies that from then on,
and where a launch does so much, there is little to gain."""

WARM_UP = 3
"""Calls before recording, in which libraries choose their kernels and allocate what they keep."""


class Recordings:
    """What is recorded of one objective: its gradient, blocks of steps, its Hessian at a point.

    On a CPU nothing is; and nothing more where a recording failed, of which a warning tells why.

    Args:
        enabled: whether anything is recorded at all.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self._calls: dict[object, int] = {}
        self._kept: dict[object, _Recording] = {}
        self._operator: _RecordedOperator | None = None
        self._points = 0
        self._too_large: set[object] = set()
        self._refused = not enabled

    def call(
        self,
        name: str,
        function: Function,
        make: Callable[[], Function],
        *arguments: Tensor,
        worth: int = WORTH,
    ) -> tuple[Tensor, ...]:
        """What a function finds, in tensors that are the caller's.

        Args:
            name: of the computation; one that is recorded has one name for each function.
            function: must read no number on the host.
            make: makes the same function with memory of its own, for one recording.
            arguments: those of the function.
            worth: calls with tensors of these shapes before it is recorded.
        """
        key = (name, *(argument.shape for argument in arguments))
        if self._refused or key in self._too_large or not may_record(arguments[0]):
            return function(*arguments)
        if (recording := self._kept.get(key)) is not None:
            return recording(*arguments)
        self._calls[key] = self._calls.get(key, 0) + 1
        found = function(*arguments)
        if self._calls[key] >= worth:
            recorded = self._try(name, key, lambda: _Recording(make(), arguments), found)
            if recorded is not None:
                while len(self._kept) >= MOST:
                    del self._kept[next(iter(self._kept))]
                self._kept[key] = recorded
        return found

    def operator(
        self, make: Callable[[Tensor], Operator], at: Callable[[], Operator], theta: Tensor
    ) -> Operator:
        """An operator on matrices of shape (k, P), at a point.

        Args:
            make: makes it at a point, with memory of its own, for the recording.
            at: makes it at this point.
            theta: the point.
        """
        name = "the Hessian"
        if self._refused or name in self._too_large or not may_record(theta):
            return at()
        if self._operator is None:
            self._points += 1
            if self._points <= WORTH_POINTS:
                return at()
            vector = torch.full_like(theta, len(theta) ** -0.5)[None]
            self._operator = self._try(
                name, name, lambda: _RecordedOperator(make, theta, vector), (at()(vector),)
            )
            if self._operator is None:
                return at()
        return self._operator.at(theta)

    def _try(
        self, name: str, key: object, record: Callable[[], RecordedT], expected: Sequence[Tensor]
    ) -> RecordedT | None:
        """A recording that finds the same bits; None where there is none, and from now on: of this
        computation where it is too large, else of any.
        """
        try:
            recorded = record()
            found = recorded.found
            pairs = zip(found, expected, strict=True)
            if all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs):
                return recorded
            reason = "it finds other bits"
        except TooLargeError:
            self._too_large.add(key)
            return None
        except RuntimeError as error:
            reason = str(error).strip().partition("\n")[0]
        self._refused = True
        self._kept, self._operator = {}, None
        warnings.warn(
            f"{name} could not be recorded as a CUDA graph ({reason}); kernels are launched one by "
            "one, with the same numbers",
            stacklevel=2,
        )
        return None


class _Recording:
    """A function for tensors of their shapes; ``found`` is what it found where it was recorded."""

    def __init__(self, function: Function, arguments: Sequence[Tensor]) -> None:
        self._function = function  # its memory
        self._arguments = [argument.clone() for argument in arguments]
        recorder = Recorder()
        recorder.warm_up(lambda: function(*self._arguments))
        self._replay, self._results = recorder.record(lambda: function(*self._arguments))
        self.found = self(*arguments)

    def __call__(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        for mine, argument in zip(self._arguments, arguments, strict=True):
            mine.copy_(argument)
        self._replay()
        return tuple(result.clone() for result in self._results)


class _RecordedOperator:
    """An operator at a point, and its products with single vectors.

    What it makes ready at a point and a product are recorded one after the other: a product reads
    what was made ready. ``found`` is the product with the vector with which it was recorded.
    """

    def __init__(self, make: Callable[[Tensor], Operator], point: Tensor, vector: Tensor) -> None:
        self._point, self._vector = point.clone(), vector.clone()
        recorder = Recorder()
        recorder.warm_up(lambda: make(self._point)(self._vector))
        self._make_ready, self._made = recorder.record(lambda: make(self._point))
        self._multiply, self._product = recorder.record(lambda: self._made(self._vector))
        self._ready_for: object = None
        self.found = (self.at(point)(vector),)

    def at(self, point: Tensor) -> Operator:
        """The operator at a point, which must not change while it is in use."""

        def products(vectors: Tensor) -> Tensor:
            if self._ready_for is not products:  # another one was used meanwhile
                self._point.copy_(point)
                self._make_ready()
                self._ready_for = products
            results = torch.empty_like(vectors)
            for vector, result in zip(vectors, results, strict=True):
                self._vector.copy_(vector)
                self._multiply()
                result.copy_(self._product[0])
            return results

        return products


RecordedT = TypeVar("RecordedT", _Recording, _RecordedOperator)


class Recorder:
    """Records on a stream of its own, into memory that all its recordings share.

    They are to be replayed in the order in which they were made, any of them any number of times.
    """

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, call: Callable[[], object]) -> None:
        """Make the call a few times on the stream.

        Raises:
            TooLargeError: it takes too much memory.
        """
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UP):
                call()
        torch.cuda.current_stream().wait_stream(self._stream)
        taken = torch.cuda.max_memory_allocated() - before
        if taken > SHARE * torch.cuda.get_device_properties(self._stream.device).total_memory:
            raise TooLargeError

    def record(self, call: Callable[[], Held]) -> tuple[Callable[[], None], Held]:
        """What repeats the call, and what the call returned, which each repetition overwrites."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            found = call()
        return graph.replay, found


class TooLargeError(RuntimeError):
    """A computation that takes too much memory to be recorded."""


def may_record(tensor: Tensor) -> bool:
    """Whether computations on a tensor's device are recorded."""
    return tensor.is_cuda
