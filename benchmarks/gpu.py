"""One GPU: what gradients, Hessian products and steps cost there, and how exact they are.

    .venv/bin/python benchmarks/gpu.py [--cifar FOLDER] [--parts costs,steps,...] > report.md

prints a report in Markdown. FC is 3072-200-200-10 with tanh and MSE, CNN two blocks of 32 channels
with ReLU and cross-entropy, ViT four small blocks with cross-entropy; float32 without TF32. Times
are the least of 5, measured in turns and with the device waited for. What fails says so,
and the rest goes on. ``--smallest`` goes through it on a CPU. It needs this package only, and none
of its peers.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import exactness
import networks
import speeds
import torch
from floors import describe
from report import Bench, Part, by_case
from script import parse

from jobs.calibration import device_speed
from jobs.curvature.memory import MARGIN
from jobs.dynamics.descent import BLOCK
from jobs.numerics import reproducible
from jobs.objective import exact_attention

SAMPLES = {"fc": (5000, 10), "cnn": (5000, 4), "vit": (1000, 2)}
"""Of each network, and with ``--smallest``."""

PARTS = {
    "settings": Part(
        "Whether float32 is float32",
        "Relative differences from float64 on the same device; TF32 would be off by 1e-4 to 1e-3.",
        ["", "found"],
        lambda bench: {"settings": (), "errors": (256 if bench.small else 2048,)},
        exactness.settings,
    ),
    "exactness": Part(
        "Gradients, products and eigenvalues",
        "Relative differences from the CPU in float64; the CPU in float32 is the yardstick.",
        ["network", "device", "dtype", "gradient", "product", "dominant λ", "same bits twice"],
        lambda bench: {case.name: (case.name,) for case in bench.cases},
        exactness.differences,
    ),
    "costs": Part(
        "A gradient, and a product with retained graphs",
        "Floors: the flops of matrix products and convolutions at the rate of matrix products; the "
        "bytes that the operations read and write, one by one, at the rate of copying.",
        [
            *("network", "chunks", "of what", "ms", "/ gradient", "Gflop", "floor ms"),
            *("MiB moved", "floor ms", "ms / higher floor"),
        ],
        by_case,
        speeds.costs,
    ),
    "steps": Part(
        "A step of GD",
        "With a look at the loss after each, and after a block of them.",
        ["network", "ms a step, looked at", f"in blocks of {BLOCK['cuda']}", "ratio"],
        by_case,
        speeds.steps,
    ),
    "memory": Part(
        "Memory",
        f"MiB, measured / planned; chunks are made so that {MARGIN} times the plan fits.",
        ["network", "chunks", "gradient", "graphs kept", "graphs and a product"],
        by_case,
        speeds.memory,
    ),
    "batches": Part(
        "Gradients of K trials in one computation",
        "Milliseconds a trial, and in brackets relative to a trial alone.",
        [
            *("dataset, n, width, depth", "dtype", "P n", "alone"),
            *(f"K = {runs}" for runs in speeds.BATCH_SIZES),
        ],
        speeds.batched,
        speeds.batches,
    ),
    "ranks": Part(
        "The gradient of one rank",
        "With its all-reduce (NCCL on a GPU, gloo on a CPU), beside that of a process alone.",
        ["network", "ms alone", "ms as a rank", "ratio", "difference"],
        by_case,
        speeds.ranks,
    ),
    "column": Part(
        "A column of GD trials as one computation",
        "With all that is measured on the way; the floor is what its gradients and products take "
        "by the flops of their matrix products at the rate above.",
        [
            *("trials", "steps", "gradients", "products", "ms a step of one"),
            *("floor ms", "ms / floor"),
        ],
        speeds.columns,
        speeds.column,
    ),
    "recorded": Part(
        "A gradient, a product and a block of steps recorded as CUDA graphs",
        "In turns with eager ones; on a CPU nothing is recorded.",
        ["network", "of what", "ms", "eager ms", "ratio", "difference"],
        by_case,
        speeds.recorded,
    ),
    "compiled": Part(
        "The gradient by torch.compile",
        "In turns with eager; what is compiled cannot be differentiated twice.",
        ["network", "gradient by", "set-up s", "ms", "eager ms", "ratio", "difference"],
        speeds.compilations,
        speeds.compilation,
    ),
}


def report(options: argparse.Namespace) -> None:
    """Print what the device is, and each part that was asked for."""
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU here; --smallest shows on a CPU what there would be")
    print("# One device: speed and exactness\n")
    for line in describe(device):
        print(f"- {line}")
    sizes = {"matrix": 128, "copied": 2**18} if options.smallest else {}
    found = device_speed(options.device, **sizes)
    for dtype, flops in found.flops.items():
        print(f"- {dtype} matrix products: {flops / 1e12:.2f} Tflop/s")
    print(f"- copying: {found.nbytes / 1e9:.0f} GB/s, read and written")
    print(f"- a small operation: {1e6 * found.launch:.1f} µs", flush=True)
    cases = []
    for name in options.networks.split(","):
        case = networks.case(name, SAMPLES[name][options.smallest], options.cifar)
        cases.append(case.at(case.theta.to(device)))
    bench = Bench(device, options.smallest, cases, found, options.cifar)
    for name in options.parts.split(","):
        PARTS[name].show(bench)
        sys.stdout.flush()


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--networks", default=",".join(SAMPLES))
    parser.add_argument("--cifar", type=Path, help="folder of CIFAR-10's official binary files")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parse(parser, device="cpu", networks="cnn")
    with reproducible(options.threads), exact_attention():
        report(options)


if __name__ == "__main__":
    main()
