"""Part of gpu.py: the rows of its tables of times and memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from batches import NETWORKS, problem
from compiling import Gradient, compiled, eager
from exactness import apart
from floors import counted_flops, work
from measuring import occupied, peak_on, timed, wait
from networks import Case
from report import Bench
from torch import Tensor

from jobs import OngoingTrial, Protocol, Trial
from jobs.curvature.eigenvalues import start_vector
from jobs.curvature.hessian import Hessian
from jobs.curvature.memory import Chunks
from jobs.dynamics.descent import BLOCK, GradientDescent
from jobs.dynamics.iterate import Bounds, Iterate
from jobs.objective import Objective
from jobs.ongoing import advance
from jobs.problem import pose
from jobs.process_group import LOOPBACK, ProcessGroup, open_store
from jobs.recordings import WORTH, WORTH_BLOCKS, WORTH_POINTS

BATCH_SIZES = (1, 4, 16, 64)


def costs(bench: Bench, case: Case) -> list[list[str]]:
    """A gradient and a product with retained graphs, beside the floors."""
    chunks, theta, rows = case.planned(), case.theta, []
    goal = case.objective(chunks)
    hessian, vector = Hessian(goal, theta), start_vector(len(theta), theta)
    ways = [partial(goal.stacked_gradients, theta[None]), partial(hessian.__matmul__, vector)]
    took = bench.least(ways)
    for name, way, ms in zip(("gradient", "product"), ways, took, strict=True):
        asked = work(way)
        by_flops, by_bytes = asked.floors(bench.speed)
        rows.append([*named(case, chunks), name, f"{ms:.3f}", f"{ms / took[0]:.2f}"])
        rows[-1] += [f"{asked.flops / 1e9:.1f}", f"{by_flops:.3f}"]
        rows[-1] += [f"{asked.nbytes / 2**20:.0f}", f"{by_bytes:.3f}"]
        rows[-1].append(f"{ms / max(by_flops, by_bytes):.1f}")
    return rows


def named(case: Case, chunks: Chunks) -> list[str]:
    """The first two cells of a row: the network, and how it is chunked."""
    number = -(-case.samples // chunks.size)
    return [
        f"{case.name}, n = {case.samples}",
        f"{number} of {chunks.size}, {chunks.retained} kept",
    ]


def steps(bench: Bench, case: Case) -> list[list[str]]:
    """A step of GD, with a look at the loss after each, and after a block of them."""
    block, goal = BLOCK["cuda"], case.objective(case.planned())
    every, seldom = bench.least([descending(goal, case.theta, many) for many in (1, block)])
    seldom /= block
    return [[case.name, f"{every:.3f}", f"{seldom:.3f}", f"{seldom / every:.3f}"]]


def descending(goal: Objective, theta: Tensor, block: int) -> Callable[[], Tensor]:
    """A block of steps of GD, from where the last one ended; gives the new θ."""
    method, at = GradientDescent(goal, 1e-6, block=block), Iterate(theta).evaluated(goal)

    def go() -> Tensor:
        nonlocal at
        at = method.move(at, Bounds(-1.0, 1e30, block))
        return at.theta

    return go


def memory(bench: Bench, case: Case) -> list[list[str]]:
    """The peak memory beside the plan's."""
    chunks, needed, theta = case.planned(), case.footprint(), case.theta
    goal = case.objective(chunks)
    size, vector = min(chunks.size, case.samples), start_vector(len(theta), theta)
    of_gradient, _ = peak_on(bench.device, partial(goal.stacked_gradients, theta[None]))
    before = occupied(bench.device)
    hessian = Hessian(goal, theta)
    of_graphs = occupied(bench.device) - before
    del hessian
    of_both, _ = peak_on(bench.device, lambda: Hessian(goal, theta) @ vector)
    graph, beside = needed.graph.at(size), chunks.retained
    if chunks.retained * size >= case.samples:  # the product's own graph is one of those kept
        beside -= 1
    row = named(case, chunks)
    for measured, planned in (
        (of_gradient, needed.gradient.at(size)),
        (of_graphs, chunks.retained * graph),
        (of_both, beside * graph + needed.product.at(size)),
    ):
        mebibytes = planned / 2**20
        row.append(f"{measured:.1f} / {mebibytes:.1f} = {measured / mebibytes:.2f}")
    return [row]


def batched(bench: Bench) -> dict[str, tuple[tuple[str, int, int, int], str]]:
    """The problems of batches.py, in both dtypes."""
    networks = NETWORKS[:2] if bench.small else NETWORKS
    return {
        f"{', '.join(map(str, network))} {dtype}": (network, dtype)
        for network in networks
        for dtype in ("float32", "float64")
    }


def batches(bench: Bench, network: tuple[str, int, int, int], dtype: str) -> list[list[str]]:
    """Gradients of K runs in one computation: milliseconds a run, and relative to one alone."""
    goal, _, theta = pose(problem(*network, dtype), str(bench.device))
    stacks = [theta.repeat(runs, 1) for runs in BATCH_SIZES]
    together = [partial(goal.stacked_gradients, stack) for stack in stacks]
    one, *many = bench.least([partial(goal.stacked_gradients, theta[None]), *together])
    a_run = [took / runs for took, runs in zip(many, BATCH_SIZES, strict=True)]
    row = [", ".join(map(str, network)), dtype, f"{len(theta) * goal.samples:.1e}", f"{one:.4f}"]
    row += [f"{took:.4f} ({took / one:.2f})" for took in a_run]
    return [row]


def ranks(bench: Bench, case: Case) -> list[list[str]]:
    """The gradient of one rank with its all-reduce, beside that of a process alone."""
    group = ProcessGroup(
        open_store(LOOPBACK), 0, 1, address=LOOPBACK, secret=b"alone", timeout=60.0
    )
    try:
        chunks, theta = case.planned(), case.theta
        goals = [case.objective(chunks), case.objective(chunks, ranks=group)]
        ways = [partial(goal.stacked_gradients, theta[None]) for goal in goals]
        alone, joined = bench.least(ways)
        (_, gradient), (_, of_rank) = ways[0](), ways[1]()
        off = apart(of_rank, gradient)
    finally:
        group.leave()
    return [[case.name, f"{alone:.3f}", f"{joined:.3f}", f"{joined / alone:.3f}", f"{off:.0e}"]]


def recorded(bench: Bench, case: Case) -> list[list[str]]:
    """A gradient, a product and a block of steps as this package records them on a GPU, in turns
    with eager ones.
    """
    goal, theta, rows = case.objective(case.planned()), case.theta, []
    plain, vector = goal.apart(), start_vector(len(theta), theta)
    for _ in range(WORTH):
        goal.stacked_gradients(theta[None])
    for _ in range(WORTH_POINTS + 1):
        hessian = Hessian(goal, theta)
    ways = {
        "gradient": [lambda on=on: on.stacked_gradients(theta[None])[1] for on in (goal, plain)],
        "product": [lambda at=at: at @ vector for at in (hessian, Hessian(plain, theta))],
        f"{BLOCK['cuda']} steps": [descending(on, theta, BLOCK["cuda"]) for on in (goal, plain)],
    }
    for _ in range(WORTH_BLOCKS):
        for way in ways[f"{BLOCK['cuda']} steps"]:
            way()
    for name, (way, eager_way) in ways.items():
        off = apart(way(), eager_way())
        ms, base = bench.least([way, eager_way])
        rows.append([case.name, name, f"{ms:.3f}", f"{base:.3f}", f"{ms / base:.2f}", f"{off:.0e}"])
    return rows


def column(bench: Bench, points: int | None) -> list[list[str]]:
    """The GD trials of a column as one computation, with all that they measure, over the floor."""
    rates, steps = (2, 3) if bench.small else (20, 500)
    network = ("digits", 50, 8, 1) if bench.small else ("mnist-mini", 4000, 200, 2)
    posed = problem(*network, "float32")

    def trials(steps: int) -> list[OngoingTrial]:
        protocol = Protocol(epsilons=(1e-9,), max_steps=steps, trajectory_every=points)
        etas = [0.001 * (1 + number) for number in range(rates)]
        specs = [
            Trial(problem=posed, protocol=protocol, kind="gd", learning_rate=eta) for eta in etas
        ]
        return [OngoingTrial(spec, device=str(bench.device)) for spec in specs]

    def go(runs: list[OngoingTrial]) -> None:
        advance(runs)
        wait(bench.device)

    go(trials(2))  # what is done once
    seconds, _ = timed(partial(go, runs := trials(steps)))
    goals = [run.objective for run in runs]
    gradients, hvps = sum(goal.gradients for goal in goals), sum(goal.hvps for goal in goals)
    floor = counted_flops(posed, gradients, hvps) / bench.speed.flops["float32"]
    made = rates * steps
    row = [
        f"{rates} rates, a point every {points or 'few'} steps",
        str(made),
        str(gradients),
        str(hvps),
    ]
    row += [f"{1e3 * seconds / made:.4f}", f"{1e3 * floor / made:.4f}", f"{seconds / floor:.2f}"]
    return [row]


def columns(bench: Bench) -> dict[str, tuple[int | None]]:
    """With a point of the trajectory at every 50th step, and by the rule: at most of these."""
    return {"every 50": (50,), "by the rule": (None,)}


Build = Callable[[Case, Chunks], Gradient]
"""Another way to the gradient, set up."""


def compilations(bench: Bench) -> dict[str, tuple[Case, str, Build]]:
    """Every network by torch.compile."""
    build = partial(compiled, backend="aot_eager" if bench.small else "inductor")
    cases = bench.cases[:1] if bench.small else bench.cases
    return {case.name: (case, "torch.compile", build) for case in cases}


def compilation(bench: Bench, case: Case, name: str, build: Build) -> list[list[str]]:
    """The gradient in another way, in turns with eager."""
    chunks = case.planned()
    plain = eager(case, chunks)
    setup, way = timed(partial(build, case, chunks))
    off = apart(way(), plain())
    ms, base = bench.least([way, plain])
    row = [case.name, name, f"{setup:.1f}", f"{ms:.3f}", f"{base:.3f}", f"{ms / base:.2f}"]
    return [[*row, f"{off:.0e}"]]
