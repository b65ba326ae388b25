"""Whether GPUs compute, asked in a process of its own."""

from __future__ import annotations

import subprocess

import pytest
import torch

from orchestrator.cluster import gpu_check
from orchestrator.cluster.gpu_check import device_problems, wrong_product


def test_a_device_that_computes_gives_the_product_of_the_cpu() -> None:
    assert wrong_product(torch.device("cpu")) is None


def test_a_device_that_does_not_compute_is_found() -> None:
    assert "cannot compute" in (wrong_product(torch.device("meta")) or "")
    # No machine has a hundred GPUs.
    assert "cannot compute" in (wrong_product(torch.device("cuda", 99)) or "")


def test_a_device_that_computes_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    product = torch.Tensor.__matmul__
    calls = iter([1, 0] * 2)  # the device's, then the CPU's

    def off_by_one(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return product(left, right) + next(calls)

    monkeypatch.setattr(torch.Tensor, "__matmul__", off_by_one)
    assert wrong_product(torch.device("cpu")) == "computes a wrong product in float32"


def test_a_node_without_a_gpu_is_unfit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "")
    (problem,) = device_problems(None)
    assert problem.startswith(f"PyTorch {torch.__version__} ")
    assert "computes on CPUs only" in problem or "finds no GPU" in problem


@pytest.mark.parametrize(
    ("status", "output", "errors", "problem"),
    [
        (0, '{"devices": 2, "problems": []}', "", None),
        (0, '{"devices": 1, "problems": []}', "", "PyTorch finds 1 GPUs; it must find the 2"),
        (0, '{"devices": 2, "problems": ["GPU 1 is hot"]}', "", "GPU 1 is hot"),
        (1, "", "Traceback\nOSError: libcuda.so.1", "failed: OSError: libcuda.so.1"),
        (-11, "", "", "failed: exit status -11"),
    ],
)
def test_what_the_process_that_tried_them_says(
    monkeypatch: pytest.MonkeyPatch, status: int, output: str, errors: str, problem: str | None
) -> None:
    ended = subprocess.CompletedProcess([], status, f"a warning\n{output}\n", errors)
    monkeypatch.setattr(gpu_check.subprocess, "run", lambda *words, **options: ended)
    found = device_problems(2)
    assert (found == []) if problem is None else (problem in found[0])


def test_a_driver_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "CHECK_SECONDS", 0.0)
    (problem,) = device_problems(1)
    assert "took longer than 0 s" in problem
