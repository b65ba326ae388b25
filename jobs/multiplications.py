"""How many multiplications a network makes for one sample: what its cost is predicted from."""

from __future__ import annotations

import functools
import itertools
from typing import Any

from jobs import datasets
from jobs.datasets.source import Shape
from jobs.spec import Problem

FLOPS_PER_MULTIPLICATION = 6
"""Of a gradient, for each multiplication of the forward pass: that and an addition there, and twice
as many on the way back."""


def layer_sizes(problem: Problem) -> list[int]:
    """Numbers that each layer finds for a sample, of a network of matrix products or powers alone.

    Empty for any other, of which the multiplications alone say little about its time.
    """
    shape, depth = datasets.shape(problem.dataset), problem.depth or 0
    if problem.architecture == "fcn":
        return [problem.width or 0] * depth + [shape.outputs]
    if problem.architecture == "diagonal":
        return [shape.features] * depth
    if problem.architecture == "diagonal-difference":
        return [shape.features] * 3
    return []


def multiplications(problem: Problem) -> int:
    """Multiplications, each with an addition, in the forward pass of one sample.

    Only those of matrix products and convolutions are counted, and in diagonal networks those of
    the powers; a gradient makes three times as many. Needs torch where no formula is known here.
    """
    named = (problem.architecture, problem.width, problem.depth, problem.activation)
    return _of_network(problem.dataset, *named)


@functools.cache
def _of_network(
    dataset: str, architecture: str, width: int | None, depth: int | None, activation: str | None
) -> int:
    shape = datasets.shape(dataset)
    if architecture == "fcn":
        return _fully_connected(shape, width or 0, depth or 0)
    if architecture == "diagonal":  # ⟨w^depth, x⟩
        assert depth is not None
        return depth * shape.features
    if architecture == "diagonal-difference":  # ⟨u² − v², x⟩
        return 3 * shape.features
    problem = Problem(
        dataset=dataset,
        n_train=1,
        architecture=architecture,
        width=width,
        depth=depth,
        activation=activation,
    )
    return _counted(problem, shape)


def _fully_connected(shape: Shape, width: int, depth: int) -> int:
    sizes = [shape.features, *[width] * depth, shape.outputs]
    return sum(a * b for a, b in itertools.pairwise(sizes))


def _counted(problem: Problem, shape: Shape) -> int:
    """By the shapes of what the network computes, without computing it."""
    # torch takes seconds to import, which plans of simpler networks need not wait for.
    from jobs import models
    from jobs.network_requirements import NetworkError

    try:
        network = models.build(problem, shape)
    except NetworkError:
        return shape.features  # of no use, as those who ask for the network itself are told
    return count(network, shape.features)


def count(module: Any, features: int) -> int:
    """Multiplications of a module for one sample of ``features`` features.

    Each parameter counts once at least, for it is used in some way.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        like = next(module.parameters())  # on the meta device, but for networks of users
        module(torch.zeros(1, features, device=like.device, dtype=like.dtype))
    parameters: int = sum(parameter.numel() for parameter in module.parameters())
    return max(int(counter.get_total_flops()) // 2, parameters)
