"""Networks of the user's own: ``FILE.py:FACTORY@DIGEST``.

The digest, the first 16 hex digits of the SHA-256 of the file, says which file is meant; where it
lies in this process is told to :func:`register`. The file must stand alone: what it imports from
beside itself has no digest, and is not found. Its factory is called with those of ``width``,
``depth``, ``activation`` (a name), ``shape`` (of one sample) and ``outputs`` that it names, and
returns a new module that maps (samples, *shape) to (samples, outputs). What the file and the
factory draw they draw from PyTorch's generator.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from jobs.admission import NetworkError
from jobs.datasets.source import Shape
from jobs.models.examination import PROBED_SAMPLES, examine
from jobs.models.foreign_code import foreign, staying
from jobs.models.own_file import module_of, path_of, register
from jobs.models.seeding import seeded
from jobs.spec import Problem
from jobs.spec.network_name import is_own_network

__all__ = ["OwnNetwork", "check", "draw", "is_own", "path_of", "register"]


class OwnNetwork(nn.Module):
    """A user's module, with inputs in the shape of samples; ``place`` is what errors call it."""

    def __init__(self, network: nn.Module, shape: tuple[int, ...], place: str) -> None:
        super().__init__()
        self.network, self.shape, self.place = network, shape, place

    def forward(self, inputs: Tensor) -> Tensor:
        """(samples, features) to (samples, outputs).

        Raises:
            NetworkError: the user's code would have ended the process.
        """
        with staying(f"{self.place}: its forward pass failed"):
            outputs: Tensor = self.network(inputs.reshape(-1, *self.shape))
        return outputs


def is_own(problem: Problem) -> bool:
    """Whether a problem's network is of the user's own."""
    return is_own_network(problem.architecture)


def draw(problem: Problem, shape: Shape) -> OwnNetwork:
    """What the factory makes from the problem's seed, for inputs of shape (samples, features).

    Raises:
        NetworkError: there is no such file, its contents are others, or the factory fails.
    """
    return _drawn(problem, shape, problem.seed)


def check(problem: Problem, shape: Shape) -> None:
    """Make sure that a network can be used, once in a process for each network of these sizes.

    Raises:
        NetworkError: it cannot be made, is not made the same way in every process, has another
            shape of outputs, mixes samples, is random, has no trainable parameters or no right
            second derivative.
    """
    sizes = (
        problem.architecture,
        problem.width,
        problem.depth,
        problem.activation,
        problem.dtype,
        shape,
    )
    if sizes in _checked:
        return
    network, again = draw(problem, shape), draw(problem, shape)
    # In another process the file may meet another problem first.
    _drawn(problem, shape, problem.seed + 1, anew=True)
    elsewhere = _drawn(problem, shape, problem.seed, anew=True)
    dtype = getattr(torch, problem.dtype)
    place, tried = _place(problem), f"on {PROBED_SAMPLES} inputs of shape {shape.input}"
    with foreign(f"{place}: {tried} the network failed"):
        try:
            examine(network, again, elsewhere, shape, dtype)
        except NetworkError as error:
            text = str(error)
            if text.startswith(place):
                raise
            raise NetworkError(f"{place}: {text}") from error.__cause__
    _checked.add(sizes)


_checked: set[tuple[object, ...]] = set()


def _drawn(problem: Problem, shape: Shape, seed: int, *, anew: bool = False) -> OwnNetwork:
    with seeded(seed):
        return _construct(problem, shape, anew)


def _construct(problem: Problem, shape: Shape, anew: bool) -> OwnNetwork:
    file, name, digest = _parts(problem)
    module = module_of(file, digest, anew)
    place = _place(problem)
    factory = getattr(module, name, None)
    if not callable(factory):
        raise NetworkError(f"{place}: there is no function {name} in the file; define one")
    with foreign(f"{place}: the factory failed"):
        network = factory(**_arguments(place, factory, problem, shape))
    if not isinstance(network, nn.Module):
        raise NetworkError(
            f"{place}: the factory returned {type(network).__name__}; it must return a "
            "torch.nn.Module"
        )
    return OwnNetwork(network, shape.input, place)


def _arguments(
    place: str, factory: Callable[..., object], problem: Problem, shape: Shape
) -> dict[str, Any]:
    """Of what there is to say, what the factory names in its signature."""
    known = {
        "width": problem.width,
        "depth": problem.depth,
        "activation": problem.activation,
        "shape": shape.input,
        "outputs": shape.outputs,
    }
    given = {}
    for name, parameter in inspect.signature(factory).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if name in known:
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise NetworkError(
                    f"{place}: the factory takes {name!r} by its position alone; it must take it "
                    "by name: remove the / behind it"
                )
            given[name] = known[name]
        elif parameter.default is parameter.empty:
            raise NetworkError(
                f"{place}: the factory asks for {name!r}; it can have {', '.join(known)} by name"
            )
    return given


def _parts(problem: Problem) -> tuple[str, str, str]:
    """File, factory and digest."""
    file, _, rest = problem.architecture.rpartition(":")
    name, _, digest = rest.partition("@")
    return file, name, digest


def _place(problem: Problem) -> str:
    """What errors call a network."""
    file, name, _ = _parts(problem)
    return f"network {file}:{name}"
