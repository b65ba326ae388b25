"""Which class a failure is of, from the evidence that the exception gives."""

from __future__ import annotations

import errno
import traceback

import numpy as np
import torch

from jobs.ranks import RankError
from orchestrator.plan import FailureClass

STORAGE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


def classify(error: BaseException) -> FailureClass:
    """The failure class of an exception that a trial raised."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "t allocate memory" in str(
        error
    ):
        return "out_of_memory"
    if isinstance(error, RankError):
        return "node_failure"
    if isinstance(error, (ArithmeticError, np.linalg.LinAlgError)):
        return "numerics"
    return "exception"


def describe(error: BaseException) -> str:
    """The exception in one line, and its traceback below."""
    last = "".join(traceback.format_exception_only(error)).strip()
    return f"{last}\n\n{''.join(traceback.format_exception(error)).strip()}"


def full_storage(error: BaseException) -> bool:
    """Whether the run directory cannot be written to, which no other trial would survive."""
    return isinstance(error, OSError) and error.errno in STORAGE_ERRORS
