"""Networks of the user's own: ``FILE.py:FACTORY@DIGEST``.

The digest, the first 16 hex digits of the SHA-256 of the file, says which file is meant; where it
lies in this process is told to :func:`register`. The file must stand alone: what it imports from
beside itself has no digest, and is not found. Its factory is called with those of ``width``,
``depth``, ``activation`` (a name), ``shape`` (of one sample) and ``outputs`` that it names, and
returns a module that maps (samples, *shape) to (samples, outputs) and draws its initial values from
PyTorch's generator.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from jobs.admission import NetworkError
from jobs.datasets.source import Shape
from jobs.models.examination import PROBED_SAMPLES, examine
from jobs.parameters import Layout
from jobs.spec import Problem
from jobs.spec.digest import digest_of
from jobs.spec.network_name import is_own_network

_paths: dict[str, Path] = {}


class OwnNetwork(nn.Module):
    """A user's module, with inputs in the shape of samples."""

    def __init__(self, network: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.network, self.shape = network, shape

    def forward(self, inputs: Tensor) -> Tensor:
        """(samples, features) to (samples, outputs)."""
        outputs: Tensor = self.network(inputs.reshape(-1, *self.shape))
        return outputs


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


def is_own(problem: Problem) -> bool:
    """Whether a problem's network is of the user's own."""
    return is_own_network(problem.architecture)


def construct(problem: Problem, shape: Shape) -> nn.Module:
    """What the factory makes, for flat inputs of shape (samples, features).

    Raises:
        NetworkError: there is no such file, its contents are others, or the factory fails.
    """
    _, name, digest = _parts(problem)
    module = _imported(digest)
    place = _place(problem)
    factory = getattr(module, name, None)
    if not callable(factory):
        raise NetworkError(f"{place}: there is no function {name} in the file; define one")
    try:
        network = factory(**_arguments(place, factory, problem, shape))
    except NetworkError:
        raise
    except Exception as error:
        raise NetworkError(f"{place}: the factory failed: {_said(error)}") from error
    if not isinstance(network, nn.Module):
        raise NetworkError(
            f"{place}: the factory returned {type(network).__name__}; it must return a "
            "torch.nn.Module"
        )
    return OwnNetwork(network, shape.input)


def check(problem: Problem, shape: Shape, draw: Callable[[], nn.Module]) -> None:
    """Make sure that a network can be used, once in a process for each network of these sizes.

    Args:
        problem: whose network.
        shape: of its samples.
        draw: makes the network, with the initial values of the problem's seed.

    Raises:
        NetworkError: it has another shape of outputs, mixes samples, is random, has no trainable
            parameters or no second derivative.
    """
    sizes = (problem.architecture, problem.width, problem.depth, problem.activation, shape)
    if sizes in _checked:
        return
    place = _place(problem)
    try:
        network = draw().double()
        _compare(network, draw().double())
        examine(network, shape)
    except NetworkError as error:
        raise NetworkError(f"{place}: {error}") from error.__cause__
    except Exception as error:
        raise NetworkError(
            f"{place}: on {PROBED_SAMPLES} inputs of shape {shape.input} the network failed: "
            f"{_said(error)}"
        ) from error
    _checked.add(sizes)


_checked: set[tuple[object, ...]] = set()


def _compare(network: nn.Module, again: nn.Module) -> None:
    """Make sure that a network which was made twice from one seed has the same values twice."""
    if not Layout.of(network).size:
        raise NetworkError("it has no trainable parameters; it must have one at least")
    if not torch.equal(_values(network), _values(again)):
        raise NetworkError(
            "two calls after torch.manual_seed gave different initial parameters; they must be "
            "drawn from PyTorch's generator alone"
        )


def _values(network: nn.Module) -> Tensor:
    trained = [p.detach() for p in network.parameters() if p.requires_grad]
    return Layout.of(network).join(trained)


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


@functools.cache
def _imported(digest: str) -> ModuleType:
    """The module of a registered file, imported once, from the very bytes whose digest was taken.

    Raises:
        NetworkError: the file is not there, has other contents, or fails.
    """
    path = _paths.get(digest)
    if path is None:
        raise NetworkError(f"no file of digest {digest} is registered in this process")
    try:
        source = path.read_bytes()
    except OSError as error:
        raise NetworkError(f"network file {path} cannot be read: {error.strerror}") from error
    if digest_of(source) != digest:
        raise NetworkError(
            f"network file {path} has the digest {digest_of(source)}; it must be {digest}: the "
            "file was changed"
        )
    name = f"_eos_network_{digest}"
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except Exception as error:
        del sys.modules[name]
        raise NetworkError(f"network file {path} failed: {_said(error)}") from error
    return module


def _parts(problem: Problem) -> tuple[str, str, str]:
    """File, factory and digest."""
    file, _, rest = problem.architecture.rpartition(":")
    name, _, digest = rest.partition("@")
    return file, name, digest


def _place(problem: Problem) -> str:
    """What errors call a network."""
    file, name, digest = _parts(problem)
    return f"network {_paths.get(digest, file)}:{name}"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
