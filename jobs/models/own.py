"""Networks of the user's own: ``FILE.py:FACTORY@DIGEST``.

The digest, the first 16 hex digits of the SHA-256 of the file, says which file is meant; where it
lies in this process is told to :func:`register`. Its factory is called with those of ``width``,
``depth``, ``activation`` (a name), ``shape`` (of one sample) and ``outputs`` that it names, and
returns a new module that maps (samples, *shape) to (samples, outputs). What the file and the
factory draw they draw from PyTorch's generator.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from jobs.admission import NetworkError
from jobs.datasets.source import Shape
from jobs.models.examination import PROBED_SAMPLES, examine
from jobs.models.own_file import module_of, path_of, register, said
from jobs.models.seeding import seeded
from jobs.spec import Problem
from jobs.spec.network_name import is_own_network

__all__ = ["OwnNetwork", "check", "draw", "is_own", "path_of", "register"]


class OwnNetwork(nn.Module):
    """A user's module, with inputs in the shape of samples."""

    def __init__(self, network: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.network, self.shape = network, shape

    def forward(self, inputs: Tensor) -> Tensor:
        """(samples, features) to (samples, outputs)."""
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
    sizes = (problem.architecture, problem.width, problem.depth, problem.activation, shape)
    if sizes in _checked:
        return
    network, again = draw(problem, shape), draw(problem, shape)
    # In another process the file may meet another problem first.
    _drawn(problem, shape, problem.seed + 1, anew=True)
    elsewhere = _drawn(problem, shape, problem.seed, anew=True)
    try:
        examine(network, again, elsewhere, shape)
    except NetworkError as error:
        raise NetworkError(f"{_place(problem)}: {error}") from error.__cause__
    except Exception as error:
        raise NetworkError(
            f"{_place(problem)}: on {PROBED_SAMPLES} inputs of shape {shape.input} the network "
            f"failed: {said(error)}"
        ) from error
    _checked.add(sizes)


_checked: set[tuple[object, ...]] = set()


def _drawn(problem: Problem, shape: Shape, seed: int, *, anew: bool = False) -> OwnNetwork:
    with seeded(seed):
        return _construct(problem, shape, anew)


def _construct(problem: Problem, shape: Shape, anew: bool) -> OwnNetwork:
    _, name, digest = _parts(problem)
    module = module_of(digest, anew)
    place = _place(problem)
    factory = getattr(module, name, None)
    if not callable(factory):
        raise NetworkError(f"{place}: there is no function {name} in the file; define one")
    try:
        network = factory(**_arguments(place, factory, problem, shape))
    except NetworkError:
        raise
    except Exception as error:
        raise NetworkError(f"{place}: the factory failed: {said(error)}") from error
    if not isinstance(network, nn.Module):
        raise NetworkError(
            f"{place}: the factory returned {type(network).__name__}; it must return a "
            "torch.nn.Module"
        )
    return OwnNetwork(network, shape.input)


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
        if name in known and parameter.kind is not parameter.POSITIONAL_ONLY:
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
