"""One GPU: what gradients, Hessian products and steps cost there, and how exact they are.

    .venv/bin/python benchmarks/gpu.py [--cifar FOLDER] [--parts costs,steps,...] > report.md

prints a report in Markdown. FC is 3072-200-200-10 with tanh and MSE, CNN two blocks of 32 channels
with ReLU and cross-entropy, ViT four small blocks with cross-entropy; float32 without TF32. Times
are the least of 5, measured in turns and with the device waited for. A part that fails says so,
and the others go on. ``--device cpu --small`` goes through all of it on a CPU in a minute, to see
that it runs: its figures mean nothing. It needs this package only, and none of its peers.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import networks
import torch
from compiling import Captured, Gradient, compiled, eager
from exactness import apart, differences, settings
from floors import Rates, describe, rates, work
from measuring import least, occupied, peak_on, table, timed
from networks import Case
from packing import NETWORKS, problem
from torch import Tensor
from torch import distributed as dist

from jobs.descent import BLOCK, GradientDescent
from jobs.eigenvalues import start_vector
from jobs.hessian import Hessian
from jobs.memory import MARGIN, Chunks
from jobs.numerics import reproducible
from jobs.objective import Objective, exact_attention
from jobs.pack import pays, stacked_gradients
from jobs.problem import pose
from jobs.ranks import ProcessGroup
from jobs.stepper import Bounds

SAMPLES = {"fc": (5000, 200), "cnn": (5000, 40), "vit": (1000, 8)}
"""Of each network, and with ``--small``."""

PACK_SIZES = (1, 4, 16, 64)


@dataclass(frozen=True)
class Bench:
    """Where to measure, and what."""

    device: torch.device
    small: bool
    cases: list[Case]
    rates: Rates
    folder: Path | None

    def least(self, functions: list[Callable[[], object]]) -> list[float]:
        """The least milliseconds of functions that run in turns."""
        repeats, seconds = (2, 0.0) if self.small else (5, 0.2)
        return least(functions, self.device, repeats, seconds)


def exact_settings(bench: Bench) -> None:
    """Whether float32 is float32: what is switched off, and the errors of a product."""
    settings(bench.device, 256 if bench.small else 2048)


def exactness(bench: Bench) -> None:
    """Gradients, products and eigenvalues beside those of the CPU in float64."""
    differences(bench.device, bench.small, bench.folder)


def costs(bench: Bench) -> None:
    """A gradient and a product with retained graphs, beside the floors."""
    print("Floors: the flops of matrix products and convolutions at the rate of matrix products;")
    print("the bytes that the operations read and write, one by one, at the rate of copying.\n")
    rows = []
    for case in bench.cases:
        chunks, theta = case.planned(), case.theta
        goal = case.objective(chunks)
        hessian, vector = Hessian(goal, theta), start_vector(len(theta), theta)
        ways = [partial(goal.packed_gradient, theta), partial(hessian.__matmul__, vector)]
        took = bench.least(ways)
        for name, way, ms in zip(("gradient", "product"), ways, took, strict=True):
            asked = work(way)
            by_flops, by_bytes = asked.floors(bench.rates)
            rows.append([*named(case, chunks), name, f"{ms:.3f}", f"{ms / took[0]:.2f}"])
            rows[-1] += [f"{asked.flops / 1e9:.1f}", f"{by_flops:.3f}"]
            rows[-1] += [f"{asked.nbytes / 2**20:.0f}", f"{by_bytes:.3f}"]
            rows[-1].append(f"{ms / max(by_flops, by_bytes):.1f}")
    heads = ["network", "chunks", "of what", "ms", "/ gradient", "Gflop", "floor ms"]
    table([*heads, "MiB moved", "floor ms", "ms / higher floor"], rows, True)


def named(case: Case, chunks: Chunks) -> list[str]:
    """The first two cells of a row: the network, and how it is chunked."""
    number = -(-case.samples // chunks.size)
    return [
        f"{case.name}, n = {case.samples}",
        f"{number} of {chunks.size}, {chunks.retained} kept",
    ]


def steps(bench: Bench) -> None:
    """A step of GD, with a look at the loss after each, and after a block of them."""
    block, rows = BLOCK["cuda"], []
    for case in bench.cases:
        goal = case.objective(case.planned())
        every, seldom = bench.least([descending(goal, case.theta, many) for many in (1, block)])
        seldom /= block
        rows.append([case.name, f"{every:.3f}", f"{seldom:.3f}", f"{seldom / every:.3f}"])
    table(["network", "ms a step, looked at", f"in blocks of {block}", "ratio"], rows, True)


def descending(goal: Objective, theta: Tensor, block: int) -> Callable[[], None]:
    """A block of steps of GD, from where the last one ended."""
    method = GradientDescent(goal, 1e-6, block)
    method.evaluate(theta)

    def go() -> None:
        nonlocal theta
        theta = method.move(theta, Bounds(-1.0, 1e30, block)).theta

    return go


def memory(bench: Bench) -> None:
    """The peak memory beside the plan's, whose margin is there for what it cannot foresee."""
    print(f"MiB, measured / planned; chunks are made so that {MARGIN} times the plan fits.\n")
    rows = []
    for case in bench.cases:
        chunks, needed, theta = case.planned(), case.footprint(), case.theta
        goal = case.objective(chunks)
        size, vector = min(chunks.size, case.samples), start_vector(len(theta), theta)
        of_gradient, _ = peak_on(bench.device, partial(goal.packed_gradient, theta))
        before = occupied(bench.device)
        hessian = Hessian(goal, theta)
        of_graphs = occupied(bench.device) - before
        del hessian
        of_both, _ = peak_on(bench.device, lambda g=goal, t=theta, v=vector: Hessian(g, t) @ v)
        graph, beside = needed.graph.at(size), chunks.retained
        if chunks.retained * size >= case.samples:  # the product's own graph is one of those kept
            beside -= 1
        rows.append(named(case, chunks))
        for measured, planned in (
            (of_gradient, needed.gradient.at(size)),
            (of_graphs, chunks.retained * graph),
            (of_both, beside * graph + needed.product.at(size)),
        ):
            mebibytes = planned / 2**20
            rows[-1].append(f"{measured:.1f} / {mebibytes:.1f} = {measured / mebibytes:.2f}")
    table(["network", "chunks", "gradient", "graphs kept", "graphs and a product"], rows, True)


def packs(bench: Bench) -> None:
    """Gradients of K runs in one computation: milliseconds a run, and relative to one alone."""
    rows = []
    for network in NETWORKS[:2] if bench.small else NETWORKS:
        for dtype in ("float32", "float64"):
            goal, _, theta = pose(problem(*network, dtype), str(bench.device))
            alone = partial(goal.packed_gradient, theta)
            stacks = [theta.repeat(runs, 1) for runs in PACK_SIZES]
            one, *many = bench.least(
                [alone, *(partial(stacked_gradients, goal, s) for s in stacks)]
            )
            a_run = [took / runs for took, runs in zip(many, PACK_SIZES, strict=True)]
            rows.append([", ".join(map(str, network)), dtype, f"{len(theta) * goal.samples:.1e}"])
            rows[-1] += [f"{one:.4f}", *(f"{took:.4f} ({took / one:.2f})" for took in a_run)]
            rows[-1].append("yes" if pays(len(theta), goal.samples, dtype) else "no")
    heads = ["dataset, n, width, depth", "dtype", "P n", "alone"]
    table([*heads, *(f"K = {runs}" for runs in PACK_SIZES), "packed today"], rows, True)


def ranks(bench: Bench) -> None:
    """The gradient of one rank with its all-reduce, beside that of a process alone."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    group, rows = ProcessGroup(store, 0, 1, timeout=60.0), []
    try:
        for case in bench.cases:
            chunks, theta = case.planned(), case.theta
            goals = [case.objective(chunks), case.objective(chunks, ranks=group)]
            ways = [partial(goal.packed_gradient, theta) for goal in goals]
            alone, joined = bench.least(ways)
            rows.append([case.name, f"{alone:.3f}", f"{joined:.3f}", f"{joined / alone:.3f}"])
            rows[-1].append(f"{apart(ways[1](), ways[0]()):.0e}")
    finally:
        group.leave()
    backend = "NCCL" if bench.device.type == "cuda" else "gloo"
    table(["network", "ms alone", f"one rank, {backend}", "ratio", "difference"], rows, True)


def captured(bench: Bench) -> None:
    """The gradient as a CUDA graph and by torch.compile, in turns with eager."""
    ways: list[tuple[str, Callable[[Case, Chunks], Gradient]]] = [("torch.compile", compiled)]
    if bench.device.type == "cuda":
        ways.insert(0, ("CUDA graph", Captured))
    rows = []
    for case in bench.cases[:1] if bench.small else bench.cases:
        chunks = case.planned()
        plain = eager(case, chunks)
        for name, build in ways:
            rows.append([case.name, name])
            try:
                setup, way = timed(partial(build, case, chunks))
                off = apart(way(), plain())
                ms, base = bench.least([way, plain])
            except Exception as error:  # what cannot be captured or compiled says why
                traceback.print_exc()
                rows[-1] += [f"failed: {type(error).__name__}", "", "", "", ""]
            else:
                rows[-1] += [f"{setup:.1f}", f"{ms:.3f}", f"{base:.3f}", f"{ms / base:.2f}"]
                rows[-1].append(f"{off:.0e}")
    heads = ["set-up s", "ms", "eager ms", "ratio", "difference"]
    table(["network", "gradient by", *heads], rows, True)


PARTS = {
    "settings": exact_settings,
    "exactness": exactness,
    "costs": costs,
    "steps": steps,
    "memory": memory,
    "packs": packs,
    "ranks": ranks,
    "captured": captured,
}


def report(options: argparse.Namespace) -> None:
    """Print what the device is, and each part that was asked for."""
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU here; --device cpu --small shows what there would be")
    print("# One device: speed and exactness\n")
    for line in describe(device):
        print(f"- {line}")
    found = rates(device, options.small)
    print(f"- float32 matrix products: {found.flops / 1e12:.2f} Tflop/s")
    print(f"- copying: {found.nbytes / 1e9:.0f} GB/s, read and written", flush=True)
    cases = []
    for name, samples in SAMPLES.items():
        case = networks.case(name, samples[options.small], options.cifar)
        cases.append(case.at(case.theta.to(device)))
    bench = Bench(device, options.small, cases, found, options.cifar)
    for name in options.parts.split(","):
        part = PARTS[name]
        print(f"\n## {part.__doc__.splitlines()[0].rstrip('.')}\n")
        try:
            part(bench)
        except Exception as error:  # one part's failure must not cost the others' figures
            traceback.print_exc()
            print(f"\n**failed: {type(error).__name__}: {error}**")
        sys.stdout.flush()


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="few samples, to see that it runs")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--cifar", type=Path, help="folder of CIFAR-10's official binary files")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    with reproducible(options.threads), exact_attention():
        report(options)


if __name__ == "__main__":
    main()
