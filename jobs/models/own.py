"""Networks of the user's own: ``FILE.py:FACTORY(ASKED)@DIGEST``.

The digest, the first 16 hex digits of the SHA-256 of the file, says which file is meant; where it
lies in this process is told to :func:`register`, and :func:`named` gives the whole name. The file
must stand alone: what it imports from beside itself has no digest, and is not found. Its factory is
called with those of ``width``, ``depth`` and ``activation`` (a name), which stand in the name, and
of ``shape`` (of one sample) and ``outputs`` that it names in its signature. It returns a new module
that maps (samples, *shape) to (samples, outputs). What the file and the factory draw they draw from
PyTorch's generator.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
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
from jobs.spec.digest import digest_of
from jobs.spec.factory import asked_by
from jobs.spec.network_name import ASKABLE, NetworkName, own_network

__all__ = ["OwnNetwork", "check", "draw", "is_own", "named", "path_of", "register"]


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
    return own_network(problem.architecture) is not None


def named(path: Path, factory: str) -> str:
    """The ``architecture`` of a problem whose network a factory in a file builds.

    The file is made known to this process.

    Raises:
        NetworkError: the source does not say what the factory takes.
    """
    source = path.read_bytes()
    try:
        asked = asked_by(source, factory)
    except SyntaxError as error:
        raise NetworkError(f"network file {path} must be Python: {error}") from None
    if asked is None:
        raise NetworkError(
            f"network {path.name}:{factory}: there must be a function or a class {factory} in the "
            f"file that names which of {', '.join(ASKABLE)} it takes"
        )
    digest = digest_of(source)
    register(digest, path.resolve())
    return str(NetworkName(path.name, factory, asked, digest))


def draw(problem: Problem, shape: Shape) -> OwnNetwork:
    """What the factory makes from the problem's seed, for inputs of shape (samples, features).

    Raises:
        NetworkError: there is no such file, its contents are others, or the factory fails.
    """
    return _drawn(problem, shape, _seed(problem))


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
    _drawn(problem, shape, _seed(problem) + 1, second=True)
    elsewhere = _drawn(problem, shape, _seed(problem), second=True)
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


def _drawn(problem: Problem, shape: Shape, seed: int, *, second: bool = False) -> OwnNetwork:
    with seeded(seed):
        return _construct(problem, shape, second)


def _construct(problem: Problem, shape: Shape, second: bool) -> OwnNetwork:
    name, place = _name(problem), _place(problem)
    assert name.digest is not None
    module = module_of(name.file, name.digest, second)
    factory = getattr(module, name.factory, None)
    if not callable(factory):
        raise NetworkError(f"{place}: there is no function {name.factory} in the file; define one")
    with foreign(f"{place}: the factory failed"):
        network = factory(**_arguments(name, factory, problem, shape))
    if not isinstance(network, nn.Module):
        raise NetworkError(
            f"{place}: the factory returned {type(network).__name__}; it must return a "
            "torch.nn.Module"
        )
    return OwnNetwork(network, shape.input, place)


def _arguments(
    name: NetworkName, factory: Callable[..., object], problem: Problem, shape: Shape
) -> dict[str, Any]:
    """Of what there is to say, what the factory names in its signature."""
    known = {
        **{field: getattr(problem, field) for field in ASKABLE},
        "shape": shape.input,
        "outputs": shape.outputs,
    }
    place = _place(problem)
    bound = factory.keywords if isinstance(factory, functools.partial) else {}
    given = {}
    for parameter in inspect.signature(factory).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name in bound:
            continue
        if parameter.name in known:
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise NetworkError(
                    f"{place}: the factory takes {parameter.name!r} by its position alone; it must "
                    "take it by name: remove the / behind it"
                )
            given[parameter.name] = known[parameter.name]
        elif parameter.default is parameter.empty:
            raise NetworkError(
                f"{place}: the factory asks for {parameter.name!r}; it can have "
                f"{', '.join(known)} by name"
            )
    takes = tuple(field for field in ASKABLE if field in given)
    if takes != name.asked:
        right, said = (NetworkName(name.file, name.factory, each) for each in (takes, name.asked))
        raise NetworkError(
            f"{place}: by the factory's signature it must be named {right}, not {said}"
        )
    return given


def _seed(problem: Problem) -> int:
    assert problem.seed is not None
    return problem.seed


def _name(problem: Problem) -> NetworkName:
    name = own_network(problem.architecture)
    assert name is not None
    return name


def _place(problem: Problem) -> str:
    """What errors call a network."""
    return f"network {_name(problem).short}"
