"""What a device can do at most, and what a computation asks of it: the floors of its time."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from jobs import Problem
from jobs.device_speed import DeviceSpeed
from jobs.multiplications import FLOPS_PER_MULTIPLICATION, multiplications


@dataclass(frozen=True)
class Work:
    """The flops of matrix products and convolutions (a multiply-add is two), and the bytes that the
    operations read and write when each fetches its inputs and stores its outputs once.
    """

    flops: int
    nbytes: int

    def floors(self, speed: DeviceSpeed) -> tuple[float, float]:
        """Milliseconds that the flops, in float32, and the bytes take at the speed of a device."""
        return 1e3 * self.flops / speed.flops["float32"], 1e3 * self.nbytes / speed.nbytes


def describe(device: torch.device) -> list[str]:
    """The card, its driver and the versions of torch, a line each."""
    lines = [f"torch {torch.__version__}, CUDA {torch.version.cuda}"]
    if device.type != "cuda":
        return [f"a CPU, {torch.get_num_threads()} threads", *lines]
    card = torch.cuda.get_device_properties(device)
    lines[0] += f", cuDNN {torch.backends.cudnn.version()}, NCCL {torch.cuda.nccl.version()}"
    lines.insert(
        0,
        f"{card.name}: compute capability {card.major}.{card.minor}, "
        f"{card.multi_processor_count} multiprocessors, {card.total_memory / 2**30:.1f} GiB",
    )
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=index,driver_version,clocks.max.sm,power.limit"]
        query.append("--format=csv,noheader")
        ended = subprocess.run(query, capture_output=True, text=True, check=False)
        lines += [f"index, driver, clock, power: {line}" for line in ended.stdout.splitlines()]
    return lines


def counted_flops(problem: Problem, gradients: int, products: int) -> int:
    """The flops of matrix products in so many gradients, each three times those of a forward pass,
    and Hessian products, each twice those of a gradient.
    """
    gradient = FLOPS_PER_MULTIPLICATION * multiplications(problem) * problem.n_train
    return gradient * (gradients + 2 * products)


def work(function: Callable[[], object]) -> Work:
    """What a function asks of the device, counted while it runs once."""
    with FlopCounterMode(display=False) as flops, _Traffic() as traffic:
        function()
    return Work(flops.get_total_flops(), traffic.nbytes)


class _Traffic(TorchDispatchMode):
    """Adds up the bytes of the inputs and outputs of operations that are no mere views."""

    def __init__(self) -> None:
        super().__init__()
        self.nbytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view and "empty" not in func.name():
            for leaf in tree_leaves((args, kwargs, result)):
                if isinstance(leaf, Tensor):  # an expanded tensor has fewer bytes than entries
                    self.nbytes += min(leaf.nbytes, leaf.untyped_storage().nbytes())
        return result
