"""What a factory takes is read from its source, and nothing of it is run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import Problem, datasets, models
from jobs.models import custom
from jobs.network_requirements import NetworkError
from jobs.spec.network_name import (
    NetworkName,
    custom_network,
    factory_arguments,
    network_name,
    short_name,
)

SOURCE = """
import functools
from functools import partial
from elsewhere import imported
import package.module
raise RuntimeError("the file was run")

def every(activation, /, shape, outputs, width=3, *args, depth, more=1, **kwargs): ...
def none(shape, outputs, **kwargs): ...
@functools.cache
def decorated(width, shape): ...
class Net:
    def __init__(self, outputs, width): ...
class Bare: ...
short = lambda depth: 1
other = every
typed: object = none
fixed = partial(every, depth=2)
first = functools.partial(every, "relu")
spread = partial(every, **{"depth": 3})
called = imported(1)
if True:
    guarded = every
def again(width): ...
again = partial(again, width=3)
def hidden(width): ...
def with_local():
    hidden = 1
def taken(width): ...
from elsewhere import taken
"""


@pytest.mark.parametrize(
    ("factory", "asked"),
    [
        ("every", ("width", "depth", "activation")),
        ("none", ()),
        ("decorated", ("width",)),
        ("Net", ("width",)),
        ("short", ("depth",)),
        ("other", ("width", "depth", "activation")),
        ("typed", ()),
        ("fixed", ("width", "activation")),
        ("first", ("width", "depth")),
        ("again", ()),
        ("hidden", ("width",)),
        *((name, None) for name in ("imported", "package", "called", "guarded", "spread")),
        *((name, None) for name in ("Bare", "taken", "absent")),
    ],
)
def test_what_a_factory_takes_is_in_its_source(factory: str, asked: tuple[str, ...] | None) -> None:
    assert factory_arguments(SOURCE.encode(), factory) == asked


@pytest.mark.parametrize("source", [b"def build(:", b"\0", "é".encode("latin-1"), b"(" * 100_000])
def test_what_is_no_python_is_refused(source: bytes) -> None:
    with pytest.raises(SyntaxError):
        factory_arguments(source, "build")


def test_a_name_is_read_in_any_order_and_written_in_one() -> None:
    name = network_name("a b/net.py:build( depth,width )@0123456789abcdef")
    assert name == NetworkName("a b/net.py", "build", ("width", "depth"), "0123456789abcdef")
    assert str(name) == "a b/net.py:build(width, depth)@0123456789abcdef"
    for text in ("net.py:build", "net.py:build()", "net.py:build@0123456789abcdef"):
        assert str(network_name(text)) == text
        assert short_name(text) == "net.py:build"
    assert network_name("net.py:build(heads)") is network_name("fcn") is None
    assert short_name("fcn") == "fcn"


PARTIAL = """
import functools
from torch import nn

asked = []

def _build(width, outputs, depth):
    asked.append((width, depth))
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Tanh(), nn.Linear(width, outputs))

make = functools.partial(_build, depth=5)
"""


def test_what_partial_binds_stays(own: Callable[..., str]) -> None:
    problem = Problem(dataset="digits", n_train=1, architecture=own(PARTIAL), width=7, depth=9)
    assert (problem.width, problem.depth) == (7, None)
    models.build(problem, datasets.shape("digits"))
    module = sys.modules[f"_eos_network_{problem.architecture[-16:]}"]
    assert set(module.asked) == {(7, 5)}


HIDDEN = """
from torch import nn

def _factory():
    def build(width, outputs):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, outputs))
    return build

make = _factory()
"""


def test_a_name_that_says_what_the_source_does_not_must_be_right(
    own: Callable[..., str], tmp_path: Path
) -> None:
    shape, unsaid = datasets.shape("digits"), own(HIDDEN)
    with pytest.raises(NetworkError, match="there must be a function or a class make in the file"):
        custom.named(tmp_path / "network.py", "make")
    right = unsaid.replace("()", "(width)")
    assert custom_network(Problem(dataset="digits", n_train=1, architecture=right).architecture)
    models.build(Problem(dataset="digits", n_train=1, architecture=right), shape)
    says = r"it must be named network\.py:make\(width\), not network\.py:make\(\)$"
    with pytest.raises(NetworkError, match=says):
        models.build(Problem(dataset="digits", n_train=1, architecture=unsaid), shape)
