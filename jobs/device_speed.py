"""How fast a device is, and what a gradient takes there by that; without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from jobs.batch_bounds import BYTES, BatchBounds
from jobs.multiplications import FLOPS_PER_MULTIPLICATION, layer_sizes, multiplications
from jobs.spec import Problem

LAUNCHES_PER_LAYER = 7
"""Operations of a gradient by formulas for each layer of a network."""

PASSES = 25
"""What a gradient reads and writes besides its matrix products, in units of the activations of all
layers: found by 16 networks together on a CPU (26 to 28 at 500 to 1,000 samples), and by 16 and 64
on an H200 (30 and 17)."""

TIMES_FLOOR = 5.0
"""A gradient of convolutions or attention in units of its matrix products at full speed: measured
on an H200 as 7.3 (two blocks of 32 channels) and 3.7 (a small ViT)."""


@dataclass(frozen=True)
class DeviceSpeed:
    """How fast a GPU is, or a CPU core with one thread.

    Attributes:
        launch: seconds of an operation on a few numbers.
        flops: operations of matrix products per second, by dtype; a multiply-add is two.
        nbytes: bytes per second that copying reads and writes.
    """

    launch: float
    flops: Mapping[str, float]
    nbytes: float

    def seconds_per_gradient(self, problem: Problem, together: int = 1) -> float:
        """Seconds of a gradient of the full training set, of one of so many trials in a batch.

        The launches are shared by the batch; to them come the matrix products at full speed, and
        the memory traffic of the activations.
        """
        rate = self.flops[problem.dtype]
        products = FLOPS_PER_MULTIPLICATION * multiplications(problem) * problem.n_train / rate
        sizes = layer_sizes(problem)
        if not sizes:
            return TIMES_FLOOR * products
        numbers = problem.n_train * sum(sizes)
        traffic = PASSES * numbers * BYTES[problem.dtype] / self.nbytes
        return len(sizes) * LAUNCHES_PER_LAYER * self.launch / together + products + traffic


@dataclass(frozen=True)
class Calibration:
    """What was measured on a device."""

    bounds: BatchBounds
    speed: DeviceSpeed

    def to_json(self) -> dict[str, Any]:
        """As a mapping of plain values, which :meth:`from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Of what :meth:`to_json` made.

        Raises:
            KeyError, TypeError: it is something else.
        """
        return cls(BatchBounds(**content["bounds"]), DeviceSpeed(**content["speed"]))
