"""Whether the GPUs of this node compute: a small product on each, compared with the CPU's.

Run as a program, it tries the GPUs that it sees and prints what is wrong with them. It is a process
of its own because a broken driver can hang or end a process, and a context takes memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from orchestrator.first_line import first_line

if TYPE_CHECKING:
    import torch

CHECK_SECONDS = 120.0
"""How long the check may take: most of it are imports, and the start of the driver."""

SIZE = 256
"""Of the matrices. Their entries are small integers, so that any order of summation, and any
precision that a GPU multiplies in, gives the same product."""


def device_problems(least: int | None) -> list[str]:
    """What keeps the GPUs of this node from computing; empty when nothing does.

    Args:
        least: how many there must be; None for one or more.
    """
    command = [sys.executable, "-P", "-m", "orchestrator.cluster.gpu_check"]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=CHECK_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return [f"a small product on its GPUs took longer than {CHECK_SECONDS:.0f} s"]
    if ended.returncode:
        last = ended.stderr.strip().rpartition("\n")[2] or f"exit status {ended.returncode}"
        return [f"a small product on its GPUs failed: {last}"]
    answer = json.loads(ended.stdout.splitlines()[-1])
    if not answer["problems"] and answer["devices"] < (least or 1):
        return [f"PyTorch finds {answer['devices']} GPUs; it must find the {least} of the job"]
    problems: list[str] = answer["problems"]
    return problems


def wrong_product(device: torch.device) -> str | None:
    """What is wrong with a device that should multiply matrices; None when nothing is."""
    import torch

    entries = torch.arange(SIZE * SIZE).remainder(7).sub(3).reshape(SIZE, SIZE)
    for dtype in (torch.float32, torch.float64):
        left, right = entries.to(dtype), entries.T.to(dtype)
        try:
            product = (left.to(device) @ right.to(device)).cpu()
        except (RuntimeError, AssertionError) as error:
            return f"cannot compute: {first_line(error)}"
        if not torch.equal(product, left @ right):
            return f"computes a wrong product in {str(dtype).partition('.')[2]}"
    return None


def _main() -> None:
    import torch

    problems, devices = [], torch.cuda.device_count()
    if torch.version.cuda is None and torch.version.hip is None:
        problems.append(
            f"PyTorch {torch.__version__} computes on CPUs only; trials that ask for "
            "gpus_per_worker must have a build for GPUs"
        )
    elif not devices:
        problems.append(f"PyTorch {torch.__version__} finds no GPU: {_why_none()}")
    for index in range(devices):
        if (wrong := wrong_product(torch.device("cuda", index))) is not None:
            problems.append(f"GPU {index} {wrong}")
    print(json.dumps({"devices": devices, "problems": problems}))


def _why_none() -> str:
    """What the driver says."""
    import torch

    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        return first_line(error)
    return "there is none"


if __name__ == "__main__":
    _main()
