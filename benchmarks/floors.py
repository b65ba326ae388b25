"""What a device can do at most, and what a computation asks of it: the floors of its time."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from measuring import least
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from jobs import Problem
from jobs.multiplications import multiplications


@dataclass(frozen=True)
class Rates:
    """Measured on one device: the rate of float32 matrix products, and of copying, read and
    written bytes added up; both a second.
    """

    flops: float
    nbytes: float


@dataclass(frozen=True)
class Work:
    """The flops of matrix products and convolutions (a multiply-add is two), and the bytes that the
    operations read and write when each fetches its inputs and stores its outputs once.
    """

    flops: int
    nbytes: int

    def floors(self, rates: Rates) -> tuple[float, float]:
        """Milliseconds that the flops and the bytes take at the rates of a device."""
        return 1e3 * self.flops / rates.flops, 1e3 * self.nbytes / rates.nbytes


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


def rates(device: torch.device, small: bool) -> Rates:
    """The two rates of a device, with the settings of the moment."""
    size, numbers = (128, 2**18) if small else (8192, 2**28)
    left, right = (torch.randn(size, size, device=device) for _ in range(2))
    source = torch.randn(numbers, device=device)
    target = torch.empty_like(source)
    product, copy = least(
        [lambda: left @ right, lambda: target.copy_(source)], device, 5, 0.02 if small else 0.2
    )
    return Rates(2e3 * size**3 / product, 2e3 * source.nbytes / copy)


def counted_flops(problem: Problem, gradients: int, products: int) -> int:
    """The flops of matrix products in so many gradients, each three times those of a forward pass,
    and Hessian products, each twice those of a gradient.
    """
    forward = 2 * multiplications(problem) * problem.n_train
    return forward * (3 * gradients + 6 * products)


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
