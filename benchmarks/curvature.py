"""Hessian products, sharpness, chunks and allocators: this package beside other tools.

    .venv/bin/python benchmarks/curvature.py [--cifar FOLDER] [--parts hvp,sharpness,memory]

- ``hvp``: milliseconds of a Hessian product relative to a gradient, and the memory it takes.
- ``sharpness``: the sharpness of the FC net trained by GD, cold and warm, and by other tools.
- ``memory``: a gradient and a product by chunk size and memory allocator.

FC is 3072-200-200-10 with tanh and MSE, CNN two blocks of 32 channels with ReLU and cross-entropy,
ViT four small blocks with cross-entropy. All of it takes about 35 minutes on 2 quiet cores and up
to 9 GiB. Times are medians (in ``memory`` the least). In ``hvp`` each method runs in turns with
this package's gradient, in ``sharpness`` all of them do, so that what else the machine does hits
them alike. Linux with glibc only.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import allocators
import networks
import peers
import torch
from measuring import in_turns, peak_memory, timed
from networks import Case
from scipy.sparse.linalg import LinearOperator
from script import parse, table
from torch import Tensor

from jobs.curvature.hessian import Hessian
from jobs.curvature.memory import Chunks
from jobs.curvature.sharpness import SharpnessMeter
from jobs.numerics import reproducible
from jobs.objective import Objective, exact_attention

BLOCKS = (1, 4, 8)
RECIPE_BATCH = 1000
"""The batch of Cohen et al. 2021."""

ROUNDING = 1e-3
"""The largest relative difference of a product in float32 from one in float64 that is no error:
rounding moves some inputs of ReLU and of maxima across their kinks."""

LEARNING_RATE = 0.02
TOLERANCES = (1e-3, 1e-5, 1e-6)
"""Of our residuals; the last is the least that may be asked for in float32."""

DISTANCES = (1, 10, 50, 100)
"""Steps between the point whose eigenvectors are known and the one to measure."""

Vectors = Callable[[Tensor], Tensor]
"""H applied to the rows of a matrix."""


def ours(case: Case, size: int, retained: bool, by_form: bool = True) -> Vectors:
    """This package's products, in chunks whose graphs are retained or rebuilt; and without
    ``by_form``, with torch's own second derivatives of convolutions.
    """
    kept = -(-case.samples // size) if retained else 0
    objective = case.objective(Chunks(size, kept))
    if not by_form:
        objective.convolutions = nullcontext
    return Hessian(objective, case.theta).products


def methods(case: Case, size: int, even: int) -> Iterator[tuple[str, int, Callable[[], Vectors]]]:
    """Name, vectors at once, and what sets the method up.

    ``size`` samples are a chunk of ours; ``even``, which divides n, are a batch of the others.
    """
    for block in BLOCKS:
        several = f", {block} vectors" if block > 1 else ""
        for name, samples, retained in (
            ("one batch, graph retained", case.samples, True),
            (f"chunks of {size}, graphs retained", size, True),
            (f"chunks of {size}, graphs rebuilt", size, False),
        ):
            yield f"ours, {name}{several}", block, partial(ours, case, samples, retained)
    if case.name == "cnn":
        for name, samples in (("one batch", case.samples), (f"chunks of {size}", size)):
            build = partial(ours, case, samples, True, by_form=False)
            yield f"ours by torch's double backward, {name}, graphs retained", 1, build
    recipe = partial(by_rows, peers.plain_recipe, case, RECIPE_BATCH)
    yield f"Cohen's recipe, batches of {RECIPE_BATCH}", 1, recipe
    for name, product in (
        ("linearize(grad)", peers.linearized),
        ("jvp(grad)", peers.forward_over_reverse),
        ("curvlinops", peers.curvlinops_product),
        ("PyHessian", peers.pyhessian_product),
        ("hessian-eigenthings", peers.eigenthings_product),
    ):
        if product is peers.linearized and case.name == "vit":
            continue  # it holds 90 MB a sample, and tracing takes 8 s a batch
        yield f"{name}, one batch", 1, partial(by_rows, product, case, case.samples)
        yield f"{name}, batches of {even}", 1, partial(by_rows, product, case, even)


def by_rows(build: Callable[[Case, int], peers.Product], case: Case, batch: int) -> Vectors:
    """Another tool's product, as one of a matrix with one row."""
    product = build(case, batch)
    return lambda vectors: product(vectors[0]).detach()[None]


def hvp_part(case: Case, options: argparse.Namespace) -> None:
    """Print the table of products of one network."""
    chunks, theta, repeats = case.planned(), case.theta, options.repeats
    size = chunks.size if chunks.size < case.samples else -(-case.samples // 5)
    even = next(batch for batch in range(size, 0, -1) if case.samples % batch == 0)
    vectors = torch.randn(max(BLOCKS), len(theta), generator=torch.Generator().manual_seed(1))
    exact = ours(case.at(theta.double()), min(size, 250), False)(vectors.double())
    step = partial(case.objective(chunks).gradient, theta)
    rows = []
    for name, way in (("one batch", None), (f"chunks of {size}", Chunks(size, 0))):
        gradient = partial(case.objective(way).gradient, theta)
        peak, _ = peak_memory(gradient)
        took, base = in_turns([gradient, step], repeats)
        rows.append([f"gradient, {name}", f"{took:.1f}", f"{took / base:.2f}", f"{peak:.0f}"])
        rows[-1] += ["", ""]
    for name, block, build in methods(case, size, even):
        rows.append([name, *measured(build, vectors[:block], exact[:block], step, repeats)])
        case.module.zero_grad()  # PyHessian keeps its graph there
    print(
        f"\n{case.name}, n = {case.samples}, P = {len(theta)}: products. This package chooses "
        f"chunks of {chunks.size} and retains the graphs of {chunks.retained}; its gradient is 1."
        "\nThe difference is that from products in float64.\n"
    )
    table(["", "ms a vector", "/ gradient", "peak MB", "set-up ms", "difference"], rows)


def measured(
    build: Callable[[], Vectors],
    vectors: Tensor,
    exact: Tensor,
    step: Callable[[], object],
    repeats: int,
) -> list[str]:
    """Time of a vector, that over a gradient's, peak memory, set-up, and largest difference."""

    def first() -> tuple[float, Vectors, Tensor]:
        setup, products = timed(build)
        return setup, products, products(vectors)

    peak, (setup, products, result) = peak_memory(first)
    apart = float(((result - exact).norm(dim=1) / exact.norm(dim=1)).max())
    took, base = in_turns([partial(products, vectors), step], repeats)
    took /= len(vectors)
    memory, once = f"{peak:.0f}", f"{1e3 * setup:.0f}"
    wrong = "" if apart < ROUNDING else ", wrong"
    return [f"{took:.1f}", f"{took / base:.2f}", memory, once, f"{apart:.0e}{wrong}"]


def trained(case: Case, options: argparse.Namespace) -> dict[int, Tensor]:
    """θ after so many steps of GD, and some steps before, by that distance."""
    kind = "cifar" if options.cifar else "normal"
    name = f"fc-{kind}-{case.samples}-{options.width}-{options.steps}.pt"
    path = options.points / name if options.points else None
    if path and path.exists():
        return torch.load(path)
    wanted = {options.steps - distance: distance for distance in (0, *DISTANCES)}
    goal, theta, points = case.objective(case.planned()), case.theta, {}
    for step in range(options.steps + 1):
        if step in wanted:
            points[wanted[step]] = theta
        theta = theta - LEARNING_RATE * goal.gradient(theta)[1]
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(points, path)
    return points


def exact_sharpness(case: Case) -> tuple[float, str]:
    """S in float64 by this package, and how well scipy agrees."""
    goal = case.at(case.theta.double()).objective(case.planned())
    found = SharpnessMeter(goal, 1e-10).measure(case.theta.double())
    hessian = Hessian(goal, case.theta.double())

    def matvec(vector: Tensor) -> Tensor:
        return hessian @ torch.as_tensor(vector)

    operator = LinearOperator(hessian.shape, matvec=matvec, dtype=float)
    theirs, calls = peers.eigsh_sharpness(operator, tol=1e-9)
    apart = theirs / found.sharpness - 1
    return found.sharpness, (
        f"S = {found.sharpness:.9g} in float64 ({found.products} products, residual "
        f"{found.residual:.0e}); eigsh: {calls} products, difference {apart:.0e}"
    )


def our_sharpness(
    goal: Objective, theta: Tensor, rtol: float, state: tuple[int, Tensor | None]
) -> peers.Sharpness:
    """This package's measurement, from the state of a meter."""
    meter = SharpnessMeter(goal, rtol)
    meter.restore(*state)
    found = meter.measure(theta)
    return found.sharpness, found.products


def solvers(
    case: Case, points: dict[int, Tensor]
) -> Iterator[tuple[str, Callable[[], peers.Sharpness]]]:
    """Name and measurement; Cohen's recipe comes first."""
    yield "Cohen's recipe, eigsh", partial(peers.cohen_sharpness, case, RECIPE_BATCH)
    loose = partial(peers.cohen_sharpness, case, RECIPE_BATCH, tol=1e-3)
    yield "Cohen's recipe, eigsh, tol 1e-3", loose
    goal = case.objective(case.planned())
    for rtol in TOLERANCES:
        cold = partial(our_sharpness, goal, case.theta, rtol, (0, None))
        yield f"ours, cold, rtol {rtol:.0e}", cold
        for distance in sorted(points)[1:]:
            meter = SharpnessMeter(goal, rtol)
            meter.measure(points[distance])
            warm = partial(our_sharpness, goal, case.theta, rtol, meter.state())
            yield f"ours, warm, rtol {rtol:.0e}, {distance} steps before", warm
    operator = partial(peers.curvlinops_sharpness, case, RECIPE_BATCH)
    yield "curvlinops, eigsh", operator
    yield "curvlinops, eigsh, tol 1e-3", partial(operator, tol=1e-3)
    for most in (None, 20):
        few = partial(peers.eigenthings_sharpness, case, case.samples, max_iter=most)
        yield f"hessian-eigenthings, max_iter {most or 'by default'}", few
    yield "PyHessian", partial(peers.pyhessian_sharpness, case)


def sharpness_part(case: Case, options: argparse.Namespace) -> None:
    """Print the table of the sharpness at a trained point."""
    points = trained(case, options)
    case = case.at(points[0])
    exact, how = exact_sharpness(case)
    names, measurements = zip(*solvers(case, points), strict=True)
    runs = [[timed(measure) for measure in measurements] for _ in range(options.repeats)]
    rows, recipe = [], statistics.median(run[0][0] for run in runs)
    for name, results in zip(names, zip(*runs, strict=True), strict=True):
        took = statistics.median(seconds for seconds, _ in results)
        products = statistics.median(count for _, (_, count) in results)
        error = max(abs(value / exact - 1) for _, (value, _) in results)
        rows.append([name, f"{products:g}", f"{took:.2f}", f"{recipe / took:.1f}", f"{error:.0e}"])
    print(
        f"\nfc, n = {case.samples}: sharpness after {options.steps} steps of GD at η = "
        f"{LEARNING_RATE}\n{how}; errors are the largest of {options.repeats} repeats\n"
    )
    table(["", "products", "s", "speed-up", "error of S"], rows)


def case_of(name: str, options: argparse.Namespace) -> Case:
    """A network of the size that was asked for."""
    sizes = {"width": options.width} if name == "fc" else {}
    return networks.case(name, getattr(options, name), options.cifar, **sizes)


def main() -> None:
    """Print the tables of the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cifar", type=Path, help="folder of CIFAR-10's official binary files")
    parser.add_argument("--parts", default="hvp,sharpness,memory")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--networks", default="fc,cnn,vit", help="of hvp and memory")
    for name, samples in (("fc", 5000), ("cnn", 2000), ("vit", 256)):
        parser.add_argument(f"--{name}", type=int, default=samples, help="training samples")
    parser.add_argument("--width", type=int, default=200, help="of fc")
    parser.add_argument("--steps", type=int, default=300, help="of GD before the sharpness")
    parser.add_argument("--points", type=Path, help="folder that keeps the trained points")
    parser.add_argument("--allocators", default=",".join(allocators.ALLOCATORS), help="of memory")
    options = parse(
        parser, networks="fc", fc=8, width=4, steps=12, repeats=1, allocators="default,mallopt"
    )
    warnings.filterwarnings("ignore", message="Using backward.. with create_graph=True")
    warnings.filterwarnings("ignore", message="Attempted to insert a get_attr Node")
    data = "CIFAR-10" if options.cifar else "standard-normal inputs with random labels"
    print(f"{data}; torch {torch.__version__}, {options.threads} threads")
    names, parts = options.networks.split(","), options.parts.split(",")
    with reproducible(options.threads), exact_attention():
        for name in names if "hvp" in parts else ():
            hvp_part(case_of(name, options), options)
        if "sharpness" in parts:
            sharpness_part(case_of("fc", options), options)
    for name in names if "memory" in parts else ():
        allocators.compare(name, getattr(options, name), options)


if __name__ == "__main__":
    main()
