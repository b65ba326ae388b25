"""What chunks a budget allows, and that the measured footprint is what a chunk really takes."""

import gc
import math

import pytest
import torch
from torch import nn

from jobs import Problem
from jobs.curvature import memory
from jobs.curvature.hessian import Hessian
from jobs.curvature.memory import Chunks, Footprint, Line, MemoryBudgetError, plan
from jobs.losses import LOSS_SUMS
from jobs.objective import Objective
from jobs.parameters import Layout
from jobs.problem import check_memory, pose

NEEDED = Footprint(
    gradient=Line(fixed=1_000, per_sample=100),
    graph=Line(fixed=0, per_sample=200),
    product=Line(fixed=1_000, per_sample=400),
    vector=100,
)
WORKING = memory.WORKING_VECTORS * 100


def _bytes(chunks):
    """What the plan takes at most: the graphs that are kept, and the work on one chunk."""
    work = memory.MARGIN * NEEDED.product.at(chunks.size)
    return WORKING + work + memory.MARGIN * (chunks.retained * NEEDED.graph.at(chunks.size))


def test_with_room_for_everything_a_chunk_is_as_large_as_is_good_and_all_graphs_are_kept():
    assert plan(NEEDED, 1_000, 10**9, chunk_bytes=200 * 250) == Chunks(250, retained=4)
    assert plan(NEEDED, 1_000, 10**9, chunk_bytes=10**9) == Chunks(1_000, retained=1)


def test_chunks_are_of_nearly_the_same_size():
    assert plan(NEEDED, 1_000, 10**9, chunk_bytes=200 * 300) == Chunks(250, retained=4)
    assert plan(NEEDED, 7, 10**9, chunk_bytes=200 * 4) == Chunks(4, retained=2)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.9, 1.0])
def test_what_is_planned_fits_the_budget(share):
    everything = _bytes(Chunks(100, retained=10))
    least = WORKING + memory.MARGIN * NEEDED.product.at(1)
    budget = int(least + share * (everything - least))
    chunks = plan(NEEDED, 1_000, budget, chunk_bytes=200 * 100)
    assert 1 <= chunks.size <= 100
    assert chunks.retained <= math.ceil(1_000 / chunks.size)
    assert _bytes(chunks) <= budget + 1


def test_less_memory_keeps_fewer_graphs_and_only_then_makes_smaller_chunks():
    sizes = []
    for budget in range(500_000, 9_000, -10_000):
        chunks = plan(NEEDED, 1_000, budget, chunk_bytes=200 * 100)
        sizes.append((chunks.size, chunks.retained * chunks.size))
    assert sizes[0] == (100, 1_000)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1][1] < 100
    assert any(size == 100 and kept == 0 for size, kept in sizes)


def test_a_budget_too_small_for_one_sample_is_refused_and_says_what_would_do():
    with pytest.raises(MemoryBudgetError, match="one sample of this problem") as refused:
        plan(NEEDED, 1_000, 8_000, chunk_bytes=1e9)
    assert plan(NEEDED, 1_000, refused.value.needed, chunk_bytes=1e9).size == 1


def test_a_problem_is_refused_by_the_memory_that_it_needs(problem):
    with pytest.raises(MemoryBudgetError) as refused:
        check_memory(problem(), 100_000)
    check_memory(problem(), refused.value.needed)
    with pytest.raises(MemoryBudgetError):
        pose(problem(), budget=100_000)


def test_a_budget_changes_how_a_problem_is_computed_but_not_what(problem):
    spec = problem(n_train=200, width=64)
    whole, _, theta = pose(spec)
    with pytest.raises(MemoryBudgetError) as refused:
        check_memory(spec, 1)
    parts, _, _ = pose(spec, budget=refused.value.needed + 40_000)
    assert whole.chunks == Chunks(200, retained=1)
    assert parts.chunks.size < 200
    assert parts.chunks.retained < 200 / parts.chunks.size
    (loss, gradient), (same_loss, same) = whole.gradient(theta), parts.gradient(theta)
    assert same_loss == pytest.approx(loss, rel=1e-13)
    assert float((gradient - same).norm()) <= 1e-13 * float(gradient.norm())


def _convolutional():
    return nn.Sequential(
        nn.Unflatten(1, (1, 16, 16)),
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1024, 10),
    )


def _objective(samples):
    network = _convolutional()
    layout = Layout.of(network)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(samples, 256, generator=generator)
    labels = torch.arange(samples) % 10
    theta = torch.randn(layout.size, generator=generator) / 10
    return Objective(network, layout, LOSS_SUMS["ce"], inputs, labels), theta


def _measured(samples=(2, 6)):
    theta = _objective(1)[1]
    return memory.footprint(
        samples,
        theta.numel() * 4,
        lambda count: _objective(count)[0].gradient(theta),
        lambda count: Hessian(_objective(count)[0], theta),
        lambda hessian: hessian @ theta,
    )


def test_the_footprint_of_few_samples_foretells_that_of_many():
    few, many = _measured(), _measured((64, 128))
    for field in ("graph", "product"):
        foretold, found = getattr(few, field).at(128), getattr(many, field).at(128)
        assert foretold == pytest.approx(found, rel=0.15), field
    # A convolution's output of 16 × 16 × 16 floats is in the graph, once before ReLU at least.
    assert few.graph.per_sample > 16 * 16 * 16 * 4


def test_on_a_gpu_the_allocator_is_asked_for_what_is_alive_and_for_the_peak(monkeypatch):
    """With a gradient of 10 bytes a sample, a graph of 20 and a product of 30 beside it; the first
    round leaves 1,000 bytes of a library's behind."""
    alive, peak = [5_000], [0]

    def allocate(size):
        alive[0] += size
        peak[0] = max(peak[0], alive[0])

    def passing(size):
        allocate(size)
        alive[0] -= size

    rounds = []

    def gradient(samples):
        if not rounds:
            allocate(1_000)
        rounds.append(samples)
        passing(10 * samples)

    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: alive[0])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: peak[0])
    monkeypatch.setattr(
        torch.cuda, "reset_peak_memory_stats", lambda: peak.__setitem__(0, alive[0])
    )
    found = memory.footprint(
        (64, 192),
        40,
        gradient,
        lambda samples: allocate(20 * samples) or samples,
        lambda samples: passing(30 * samples),
        on_gpu=True,
    )
    assert rounds == [192, 64, 192]
    assert found.graph == Line(0, 20)
    assert found.product == Line(0, 50)
    assert found.gradient == Line(0, 20)  # at least as much a sample as the graph holds


def test_the_graph_takes_what_was_measured():
    objective, theta = _objective(64)
    foretold = _measured().graph.at(64)
    before = _live_bytes()
    hessian = Hessian(objective, theta)
    tensors = {
        saved.untyped_storage()._cdata: saved.untyped_storage().nbytes()
        for saved in _saved(hessian)
    }
    assert sum(tensors.values()) == pytest.approx(foretold, rel=0.3)
    del hessian, tensors
    assert _live_bytes() <= before + 1


def _live_bytes():
    gc.collect()
    return sum(type(thing) is torch.Tensor for thing in gc.get_objects())


def _saved(hessian):
    """The tensors that the graph of the gradient holds, found by walking it."""
    (graph,) = hessian._part.__self__._retained
    todo, seen = [t.grad_fn for t in graph.tensors if t.grad_fn is not None], set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for name in dir(node):
            if name.startswith("_saved_"):
                value = getattr(node, name)
                if isinstance(value, torch.Tensor):
                    yield value
        yield from getattr(node, "saved_tensors", ())  # of operations written in Python
        todo += [following for following, _ in node.next_functions]


def test_a_network_that_cannot_be_measured_is_refused_before_it_is_made():
    """The largest that a sweep may name would take 40 TB."""
    spec = Problem(dataset="digits", n_train=100, width=100_000, depth=1_000)
    with pytest.raises(MemoryBudgetError, match="one sample of this problem"):
        pose(spec)
