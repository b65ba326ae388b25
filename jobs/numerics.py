"""The numerical settings under which a trial runs: exact float32, and the same bits every time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def reproducible(threads: int | None = None) -> Iterator[None]:
    """Deterministic algorithms, no TF32, ``threads`` threads on the CPU; the old settings after.

    With the same number of threads on the same machine, equal computations then give equal bits.
    """
    # cuBLAS reads this when it is first used; without it, it may pick kernels that differ.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # What torch.use_deterministic_algorithms would say to the compiler by importing it, for two
    # seconds in each process; a network of the user's own may still bring it in.
    os.environ.setdefault("TORCHINDUCTOR_DETERMINISTIC", "1")
    deterministic: Any = torch.utils.deterministic
    old_threads = torch.get_num_threads()
    old_precision = torch.get_float32_matmul_precision()
    old_cudnn = torch.backends.cudnn.allow_tf32
    old_fill = deterministic.fill_uninitialized_memory
    old_mode = torch.get_deterministic_debug_mode()
    try:
        if threads is not None and threads != old_threads:
            torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        torch.set_deterministic_debug_mode("error")
        # Filling every new tensor with NaN finds reads of uninitialised memory, at a price.
        deterministic.fill_uninitialized_memory = False
        yield
    finally:
        if threads is not None and threads != old_threads:
            torch.set_num_threads(old_threads)
        torch.set_float32_matmul_precision(old_precision)
        torch.backends.cudnn.allow_tf32 = old_cudnn
        torch.set_deterministic_debug_mode(old_mode)
        deterministic.fill_uninitialized_memory = old_fill
