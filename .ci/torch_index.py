"""The options with which pip takes the build of PyTorch that fits this machine: ``make`` asks.

    python .ci/torch_index.py [cpu|cuda]

Without an argument that is the CPU build where there is no NVIDIA GPU: the other one is gigabytes
larger. The default index has the CUDA build. Where the index of the CPU build cannot be reached,
that is said, and the default index decides. Needs nothing but Python's standard library.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

CPU_BUILDS = "https://download.pytorch.org/whl/cpu"
BUILDS = ("cpu", "cuda")

REACH_SECONDS = 5.0
"""How long the index may take to answer."""

DEVICES = ("dev/nvidia0", "proc/driver/nvidia")
"""What the driver of an NVIDIA GPU puts there."""


def has_gpu(root: Path = Path("/"), query: Sequence[str] = ("nvidia-smi", "--list-gpus")) -> bool:
    """Whether this machine has an NVIDIA GPU and its driver."""
    if any((root / device).exists() for device in DEVICES):
        return True
    try:
        listed = subprocess.run(query, capture_output=True, text=True, timeout=REACH_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listed.returncode == 0 and "GPU" in listed.stdout


def build(asked: str, gpu: Callable[[], bool] = has_gpu) -> str:
    """The build to take: what was asked for, or what fits the machine.

    Raises:
        ValueError: there is no such build.
    """
    if asked and asked not in BUILDS:
        raise ValueError(f"TORCH is {asked}; it must be cpu or cuda")
    return asked or ("cuda" if gpu() else "cpu")


def obstacle(url: str, seconds: float = REACH_SECONDS) -> str | None:
    """Why an address cannot be reached; None where it can."""
    found: list[str | None] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(f"{url}/torch/", timeout=seconds):
                found.append(None)
        except (OSError, ValueError) as error:
            found.append(str(getattr(error, "reason", error)))

    # Looking up a name has no timeout of its own.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else f"no answer within {seconds:g} s"


def options(
    asked: str,
    gpu: Callable[[], bool] = has_gpu,
    reach: Callable[[str], str | None] = obstacle,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
) -> list[str]:
    """The options for pip.

    Raises:
        ValueError: there is no such build.
    """
    if build(asked, gpu) == "cuda":
        return []
    trouble = reach(CPU_BUILDS)
    if trouble is None:
        return ["--extra-index-url", CPU_BUILDS]
    say(
        f"{CPU_BUILDS} cannot be reached ({trouble}): PyTorch comes from pip's default index, "
        "whose build may be the large one for CUDA"
    )
    return []


def main(arguments: Sequence[str]) -> int:
    """Print the options."""
    try:
        print(*options("".join(arguments)))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
