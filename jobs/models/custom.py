"""Custom networks: built by a factory in a file of the user, ``FILE.py:FACTORY(ARGUMENTS)@DIGEST``.

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
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from jobs.datasets.source import Shape
from jobs.models.examination import PROBED_SAMPLES, examine
from jobs.models.seeding import seeded
from jobs.models.user_code import executed, user_code, user_forward
from jobs.network_requirements import NetworkError
from jobs.spec import Problem
from jobs.spec.network_name import (
    FACTORY_ARGUMENTS,
    NetworkName,
    custom_network,
    factory_arguments,
)
from jobs.spec.values import digest_of

SEED = 0x656F73
"""What a file draws while it is executed must be the same in every process, whatever the problem
that needs it first. It is none that problems commonly have: those draw initial values."""

_paths: dict[str, Path] = {}


def register(digest: str, path: Path) -> None:
    """Tell this process where the file of a digest lies."""
    _paths[digest] = path


def path_of(digest: str) -> Path:
    """Where the file of a digest lies.

    Raises:
        LookupError: no such file was registered in this process.
    """
    if digest not in _paths:
        raise LookupError(f"no file with the digest {digest} is registered")
    return _paths[digest]


def named(path: Path, factory: str) -> str:
    """The ``architecture`` of a problem whose network a factory in a file builds.

    The file is registered in this process.

    Raises:
        NetworkError: the source does not say what the factory takes.
    """
    source = path.read_bytes()
    try:
        arguments = factory_arguments(source, factory)
    except SyntaxError as error:
        raise NetworkError(f"network file {path} must be Python: {error}") from None
    if arguments is None:
        raise NetworkError(
            f"network {path.name}:{factory}: there must be a function or a class {factory} in the "
            f"file that names which of {', '.join(FACTORY_ARGUMENTS)} it takes"
        )
    digest = digest_of(source)
    register(digest, path.resolve())
    return str(NetworkName(path.name, factory, arguments, digest))


class CustomNetwork(nn.Module):
    """A user's module, with inputs in the shape of samples; ``called`` is its name in errors."""

    def __init__(self, network: nn.Module, shape: tuple[int, ...], called: str) -> None:
        super().__init__()
        self.network, self.shape, self.called = network, shape, called

    def forward(self, inputs: Tensor) -> Tensor:
        """(samples, features) to (samples, outputs).

        Raises:
            NetworkError: the user's code would have ended the process.
        """
        with user_forward(f"{self.called}: its forward pass failed"):
            outputs: Tensor = self.network(inputs.reshape(-1, *self.shape))
        return outputs


def draw(problem: Problem, shape: Shape, *, second: bool = False, offset: int = 0) -> CustomNetwork:
    """What the factory makes from the problem's seed, for inputs of shape (samples, features).

    Args:
        problem: its architecture is a custom network.
        shape: of the samples.
        second: whether to use the module of a second execution of the file, to compare with.
        offset: is added to the seed.

    Raises:
        NetworkError: there is no such file, its contents are others, or the factory fails.
    """
    name = _name(problem)
    assert name.digest is not None
    assert problem.seed is not None
    called = f"network {name.short}"
    with seeded(problem.seed + offset):
        module = module_of(name.file, name.digest, second, "network")
        factory = getattr(module, name.factory, None)
        if not callable(factory):
            raise NetworkError(
                f"{called}: there is no function {name.factory} in the file; define one"
            )
        with user_code(f"{called}: the factory failed"):
            network = factory(**_arguments(name, factory, problem, shape))
    if not isinstance(network, nn.Module):
        raise NetworkError(
            f"{called}: the factory returned {type(network).__name__}; it must return a "
            "torch.nn.Module"
        )
    return CustomNetwork(network, shape.input, called)


def check(problem: Problem, shape: Shape) -> None:
    """Make sure that a network can be used, once in a process for each network of these sizes.

    Raises:
        NetworkError: it cannot be made, is not made the same way in every process, has another
            shape of outputs, mixes samples, is random, has no trainable parameters or no right
            second derivative.
    """
    sizes = problem.width, problem.depth, problem.activation
    key = (problem.architecture, *sizes, problem.dtype, shape)
    if key in _checked:
        return
    network, again = draw(problem, shape), draw(problem, shape)
    # In another process the file may meet another problem first.
    draw(problem, shape, second=True, offset=1)
    elsewhere = draw(problem, shape, second=True)
    called, tried = network.called, f"on {PROBED_SAMPLES} inputs of shape {shape.input}"
    with user_code(f"{called}: {tried} the network failed"):
        try:
            examine(network, again, elsewhere, shape, getattr(torch, problem.dtype))
        except NetworkError as error:
            text = str(error)
            if text.startswith(called):
                raise
            raise NetworkError(f"{called}: {text}") from error.__cause__
    _checked.add(key)


_checked: set[tuple[object, ...]] = set()


@functools.cache
def module_of(file: str, digest: str, second: bool, kind: str) -> ModuleType:
    """The module of a registered file, from the very bytes whose digest was taken.

    Args:
        file: what its user calls it.
        digest: which one is meant.
        second: whether the module of a second execution is asked for, to compare with.
        kind: what the file has: a network or a loss.

    Raises:
        NetworkError: the file is not there, has other contents, or fails.
    """
    path = _paths.get(digest)
    if path is None:
        raise NetworkError(
            f"{kind} file {file}: no file of digest {digest} is registered in this process"
        )
    try:
        source = path.read_bytes()
    except OSError as error:
        raise NetworkError(
            f"{kind} file {file} cannot be read: {error.strerror} ({path})"
        ) from error
    if digest_of(source) != digest:
        raise NetworkError(
            f"{kind} file {file} has the digest {digest_of(source)}; it must be {digest}: the "
            f"file was changed ({path})"
        )
    name = f"_eos_network_{digest}" + ("_second" if second else "")
    with seeded(SEED), user_code(f"{kind} file {file} failed"):
        return executed(source, path, name)


def _arguments(
    name: NetworkName, factory: Callable[..., object], problem: Problem, shape: Shape
) -> dict[str, Any]:
    """The arguments that the factory names in its signature."""
    known = {
        **{field: getattr(problem, field) for field in FACTORY_ARGUMENTS},
        "shape": shape.input,
        "outputs": shape.outputs,
    }
    called = f"network {name.short}"
    bound = factory.keywords if isinstance(factory, functools.partial) else {}
    given = {}
    for parameter in inspect.signature(factory).parameters.values():
        variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if variadic or parameter.name in bound:
            continue
        if parameter.name in known:
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise NetworkError(
                    f"{called}: the factory takes {parameter.name!r} by its position alone; it "
                    "must take it by name: remove the / behind it"
                )
            given[parameter.name] = known[parameter.name]
        elif parameter.default is parameter.empty:
            raise NetworkError(
                f"{called}: the factory asks for {parameter.name!r}; it can have "
                f"{', '.join(known)} by name"
            )
    takes = tuple(field for field in FACTORY_ARGUMENTS if field in given)
    if takes != name.arguments:
        right, said = (
            NetworkName(name.file, name.factory, each) for each in (takes, name.arguments)
        )
        raise NetworkError(
            f"{called}: by the factory's signature it must be named {right}, not {said}"
        )
    return given


def _name(problem: Problem) -> NetworkName:
    name = custom_network(problem.architecture)
    assert name is not None
    return name
