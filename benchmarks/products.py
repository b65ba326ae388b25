"""Three things that this package does not do, and what each would bring it on a CPU.

    .venv/bin/python benchmarks/products.py [--threads 1] [--parts linearised,blocks,compiled]

- ``linearised``: Hessian products by ``torch.func.linearize`` instead of retained graphs.
- ``blocks``: products with several vectors at once, by ``is_grads_batched``.
- ``compiled``: the gradient by ``torch.compile``.

FC is 3072-200-200-10 with tanh and MSE, CNN two blocks of 32 channels with ReLU and cross-entropy,
on standard-normal inputs with random labels, or on CIFAR-10. Samples go through the network in the
chunks that this package chooses. Times are the least of several, measured in turns; all of it takes
about five minutes. Linux only. Products by other tools are in ``curvature.py``.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import networks
import peers
import torch
from compiling import compiled, eager
from exactness import apart
from measuring import least, occupied, peak_memory, timed
from networks import Case
from peers import Product
from script import parse, table
from torch import Tensor

from jobs.curvature.eigenvalues import start_vector
from jobs.curvature.hessian import Hessian
from jobs.curvature.memory import Chunks
from jobs.numerics import reproducible
from jobs.objective import Objective, exact_attention

BLOCKS = (2, 4, 8)
CPU = torch.device("cpu")

Vectors = Callable[[Tensor], Tensor]
"""H applied to the rows of a matrix."""


def linearised(case: Case, _: argparse.Namespace) -> None:
    """Print time, set-up and memory of products by linearisation and with retained graphs."""
    chunks, theta = case.planned(), case.theta
    goal, vector = case.objective(chunks), start_vector(len(theta), theta)
    exact = Hessian(goal, theta) @ vector
    ways = {
        "graphs retained": partial(of_graphs, goal, theta),
        "linearised": partial(peers.linearized, case, chunks.size),
        "graphs rebuilt": partial(of_graphs, case.objective(replace(chunks, retained=0)), theta),
    }
    kept, firsts, rows = [], [], []
    for name, build in ways.items():
        build()(vector)  # what is done once
        before = settled()
        start = partial(begun, build, vector)
        peak, (seconds, (product, result)) = peak_memory(partial(timed, start))
        held = settled() - before
        kept.append(partial(product, vector))
        firsts.append(1e3 * seconds)
        rows.append([name, f"{held:.0f}", f"{peak:.0f}", f"{apart(result, exact):.0e}"])
    gradient, *took = least([partial(goal.stacked_gradients, theta[None]), *kept], CPU, 7, 0.0)
    for row, first, ms in zip(rows, firsts, took, strict=True):
        row[1:1] = [f"{first:.0f}", f"{ms:.0f}", f"{ms / gradient:.2f}"]
    heads = [
        "products by",
        "ms to the first product",
        "ms a product",
        "/ gradient",
        "MiB held",
        "MiB at most",
    ]
    table([*heads, "difference"], rows)
    late, saved = firsts[1] - firsts[0], took[0] - took[1]
    when = f"with product {1 + math.ceil(late / saved)}" if saved > 0 else "at no product"
    print(f"\nOf the products at one θ, linearising has made up for its set-up {when}.")


def begun(build: Callable[[], Product], vector: Tensor) -> tuple[Product, Tensor]:
    """A product, set up, and the first result: ``linearize`` folds its constants only then."""
    product = build()
    return product, product(vector)


def settled() -> float:
    """MiB of the process, without what is free in it."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return occupied(CPU)


def of_graphs(goal: Objective, theta: Tensor) -> Product:
    """This package's product with one vector."""
    hessian = Hessian(goal, theta)
    return lambda vector: hessian @ vector


def blocks(case: Case, _: argparse.Namespace) -> None:
    """Print the time of a product, alone and as one of several."""
    chunks, theta = case.planned(), case.theta
    goal = case.objective(chunks)
    single, several = Hessian(goal, theta).products, batched(goal, theta)
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(max(BLOCKS), len(theta), generator=generator)
    exact = single(vectors)
    ways = [partial(single, vectors[:1]), *(partial(several, vectors[:many]) for many in BLOCKS)]
    one, *took = least(ways, CPU, 3, 0.0)
    rows = [["one vector", f"{one:.1f}", "1", "", ""]]
    for many, way, ms in zip(BLOCKS, ways[1:], took, strict=True):
        most, result = peak_memory(way)
        rows.append([f"{many} vectors at once", f"{ms / many:.1f}", f"{ms / many / one:.2f}"])
        rows[-1] += [f"{most:.0f}", f"{apart(result, exact[:many]):.0e}"]
    table(["", "ms a vector", "/ one vector", "MiB more at most", "difference"], rows)


def batched(goal: Objective, theta: Tensor) -> Vectors:
    """Products with retained graphs, for all rows at once: autograd's backward pass in vmap."""
    graphs = [goal.partial_gradient(theta, *chunk, create_graph=True) for chunk in goal.split()]

    def products(vectors: Tensor) -> Tensor:
        rows = [goal.layout.split(vector) for vector in vectors]
        directions = [torch.stack(parts) for parts in zip(*rows, strict=True)]
        result = torch.zeros_like(vectors)
        for graph in graphs:
            tensors = torch.autograd.grad(
                graph.tensors, graph.leaves, directions, retain_graph=True, is_grads_batched=True
            )
            result += torch.cat([tensor.flatten(start_dim=1) for tensor in tensors], dim=1)
        return result

    return products


def compiling(case: Case, options: argparse.Namespace) -> None:
    """Print the time of a gradient, eager and compiled."""
    rows = []
    for chunks in dict.fromkeys([case.planned(), Chunks(case.samples, 1)]):
        plain = eager(case, chunks)
        setup, way = timed(partial(compiled, case, chunks, options.backend))
        off = apart(way(), plain())
        base, ms = least([plain, way], CPU, 5, 0.0)
        rows.append([f"{-(-case.samples // chunks.size)} of {chunks.size}", f"{setup:.1f}"])
        rows[-1] += [f"{base:.1f}", f"{ms:.1f}", f"{ms / base:.2f}", f"{off:.0e}"]
        gained = (base - ms) / 1e3
        rows[-1].append(f"{setup / gained:.0f}" if gained > 0 else "never")
    heads = ["chunks", "compiling s", "eager ms", "compiled ms", "ratio", "difference"]
    table([*heads, "gradients until it pays"], rows)


PARTS = {
    "linearised": (linearised, {"cnn": (500, 1000)}),
    "blocks": (blocks, {"fc": (5000,), "cnn": (500,)}),
    "compiled": (compiling, {"fc": (5000,), "cnn": (500, 1000)}),
}
"""The networks of each part, and their training samples."""


def main() -> None:
    """Print the tables of the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar", type=Path, help="folder of CIFAR-10's official binary files")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--networks", default="fc,cnn")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--samples", type=int, help="instead of those of each part")
    parser.add_argument("--backend", default="inductor", help="of torch.compile")
    options = parse(parser, networks="cnn", samples=4, backend="aot_eager")
    warnings.filterwarnings("ignore", message="Attempted to insert a get_attr Node")
    print(f"torch {torch.__version__}, {options.threads} threads")
    with reproducible(options.threads), exact_attention():
        for part in options.parts.split(","):
            measure, cases = PARTS[part]
            for name, sizes in cases.items():
                if name not in options.networks.split(","):
                    continue
                for samples in sizes if options.samples is None else (options.samples,):
                    case = networks.case(name, samples, options.cifar)
                    plan = case.planned()
                    print(f"\n{part}: {name}, n = {samples}, P = {len(case.theta)}, {plan}\n")
                    measure(case, options)


if __name__ == "__main__":
    main()
