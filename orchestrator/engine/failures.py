"""Which class a failure is of, from the evidence that the exception gives."""

from __future__ import annotations

import errno
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from jobs.curvature.memory import MemoryBudgetError
from jobs.problem import NoDeviceError
from jobs.process_group import RankError
from orchestrator.cluster.allocation import node_name
from orchestrator.engine.capacity import UnfitNodeError
from orchestrator.first_line import first_line
from orchestrator.plan import FailureClass

STORAGE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}

NO_FAULT_OF_THE_TRIAL = re.compile(
    r"no CUDA-capable device|No CUDA GPUs are available|Found no NVIDIA driver"
    r"|NVIDIA driver on your system is too old|driver version is insufficient"
    r"|Torch not compiled with CUDA|CUDA driver initialization failed|cudaGetDeviceCount"
    r"|CUDA error: (initialization error|unknown error|invalid device ordinal"
    r"|system not yet initialized|system has unsupported display driver"
    r"|CUDA-capable device\(s\) is/are busy|all CUDA-capable devices are busy"
    r"|no kernel image is available|hardware stack error)"
    r"|CUDA unknown error|uncorrectable (ECC|NVLink) error|GPU is lost|fell off the bus",
    re.IGNORECASE,
)
"""Messages of PyTorch and CUDA for faults of a node's devices or driver, whatever is computed. Of
an illegal access or a failed launch, the trial may be the cause."""


def fault_of_node(error: BaseException) -> str | None:
    """What is wrong with the node where an exception was raised; None for what trials can cause."""
    text = str(error)
    if isinstance(error, NoDeviceError) or NO_FAULT_OF_THE_TRIAL.search(text):
        return first_line(text)
    return None


@contextmanager
def node_blamed(device: str) -> Iterator[None]:
    """While this context lasts, what fails for this node on a device is an :class:`UnfitNodeError`.

    A node is not blamed for what fails on a CPU.
    """
    try:
        yield
    except Exception as error:
        reason = None if device == "cpu" else fault_of_node(error)
        if reason is None:
            raise
        raise UnfitNodeError(_ray_node(), node_name(), reason) from error


def _ray_node() -> str:
    # Tests use what is here without Ray; a worker has imported it.
    import ray

    return str(ray.get_runtime_context().get_node_id()) if ray.is_initialized() else ""


def classify(error: BaseException) -> FailureClass:
    """The failure class of an exception that a trial raised."""
    if isinstance(error, UnfitNodeError):
        return "unfit_node"
    no_memory = (MemoryError, MemoryBudgetError, torch.OutOfMemoryError)
    if isinstance(error, no_memory) or "t allocate memory" in str(error):
        return "out_of_memory"
    if isinstance(error, RankError):
        return "node_failure"
    if isinstance(error, (ArithmeticError, np.linalg.LinAlgError)):
        return "numerics"
    return "exception"


def spoils_process(error: BaseException, device: str) -> bool:
    """Whether nothing can be trusted in this process after an exception on a device.

    After an illegal access every later call of CUDA fails; lack of memory spoils nothing.
    """
    return device != "cpu" and "CUDA error" in str(error) and classify(error) != "out_of_memory"


def describe(error: BaseException) -> str:
    """The exception in one line, and its traceback below."""
    last = "".join(traceback.format_exception_only(error)).strip()
    return f"{last}\n\n{''.join(traceback.format_exception(error)).strip()}"


def full_storage(error: BaseException) -> bool:
    """Whether the run directory cannot be written to, which no other trial would survive."""
    return isinstance(error, OSError) and error.errno in STORAGE_ERRORS
