"""Names of custom networks, ``FILE.py:FACTORY(ARGUMENTS)@DIGEST``, and what their factories take.

The arguments are read from the source of the file, without running it.
"""

from __future__ import annotations

import ast
import functools
import re
from dataclasses import dataclass

FACTORY_ARGUMENTS = ("width", "depth", "activation")
"""Fields of a problem that a factory may take, in the order in which a name has them."""

_NAMED = re.compile(
    r"(?P<file>.+\.py):(?P<factory>[A-Za-z_][A-Za-z0-9_]*)"
    r"(\((?P<arguments>[^()]*)\))?(@(?P<digest>[0-9a-f]{16}))?"
)


@dataclass(frozen=True)
class NetworkName:
    """A custom network.

    Attributes:
        file: what its user calls the file.
        factory: the function in it.
        arguments: those of :data:`FACTORY_ARGUMENTS` that the factory takes; None where the name
            does not say it.
        digest: the first 16 hex digits of the SHA-256 of the file; None where the name has none.
    """

    file: str
    factory: str
    arguments: tuple[str, ...] | None = None
    digest: str | None = None

    def __str__(self) -> str:
        arguments = "" if self.arguments is None else f"({', '.join(self.arguments)})"
        digest = "" if self.digest is None else f"@{self.digest}"
        return f"{self.short}{arguments}{digest}"

    @property
    def short(self) -> str:
        """The name without arguments and digest, which files with other content may share."""
        return f"{self.file}:{self.factory}"


@functools.lru_cache(maxsize=1024)
def network_name(architecture: str) -> NetworkName | None:
    """The custom network that a text names; None where it names none.

    Its arguments may stand in any order; each must be one of :data:`FACTORY_ARGUMENTS`, named once.
    """
    found = _NAMED.fullmatch(architecture)
    if found is None:
        return None
    arguments = None
    if found["arguments"] is not None:
        named = [
            word.strip() for word in found["arguments"].split(",") if found["arguments"].strip()
        ]
        if len(set(named)) < len(named) or not set(named) <= set(FACTORY_ARGUMENTS):
            return None
        arguments = tuple(field for field in FACTORY_ARGUMENTS if field in named)
    return NetworkName(found["file"], found["factory"], arguments, found["digest"])


def custom_network(architecture: str) -> NetworkName | None:
    """The custom network that a problem has; None where it is one of this package."""
    found = network_name(architecture)
    if found is None or found.arguments is None or found.digest is None:
        return None
    return found


def short_name(architecture: str) -> str:
    """An architecture for people to read: a custom network without arguments and digest."""
    found = network_name(architecture)
    return architecture if found is None else found.short


def factory_arguments(source: bytes, factory: str) -> tuple[str, ...] | None:
    """Those of :data:`FACTORY_ARGUMENTS` that a factory names as parameters.

    Known are functions, ``lambda``, classes with an ``__init__`` of their own, other names of
    these, and ``functools.partial`` of them, of which what is bound is no longer taken.
    ``**kwargs`` takes nothing. None where the source alone does not say it: the name is
    imported, is the value of another call, is bound within another statement, or is not there.

    Raises:
        SyntaxError: the source is no Python.
    """
    try:
        body = ast.parse(source).body
    except (ValueError, RecursionError, MemoryError) as error:  # such as a null byte
        raise SyntaxError(str(error)) from None
    found = _parameters(body, ast.Name(factory))
    return None if found is None else tuple(field for field in FACTORY_ARGUMENTS if field in found)


def _parameters(body: list[ast.stmt], value: ast.expr) -> list[str] | None:
    """The names of the parameters of what an expression at the end of a module stands for."""
    if isinstance(value, ast.Lambda):
        return _named(value.args)
    if isinstance(value, ast.Call) and ast.unparse(value.func) in ("partial", "functools.partial"):
        return _of_partial(body, value)
    if not isinstance(value, ast.Name):
        return None
    for number in reversed(range(len(body))):
        statement = body[number]
        match statement:
            case ast.FunctionDef(name=value.id):
                return _named(statement.args)
            case ast.ClassDef(name=value.id):
                return _of_class(statement)
            case ast.Assign(targets=[ast.Name(id=value.id)]):
                return _parameters(body[:number], statement.value)
            case ast.AnnAssign(target=ast.Name(id=value.id), value=ast.expr() as given):
                return _parameters(body[:number], given)
        if _binds(statement, value.id):
            return None
    return None


def _of_partial(body: list[ast.stmt], call: ast.Call) -> list[str] | None:
    """The parameters of a function that ``partial`` leaves unbound."""
    bound = {keyword.arg for keyword in call.keywords}
    if None in bound or any(isinstance(each, ast.Starred) for each in call.args) or not call.args:
        return None
    function, *positional = call.args
    names = _parameters(body, function)
    if names is None:
        return None
    return [name for name in names[len(positional) :] if name not in bound]


def _of_class(found: ast.ClassDef) -> list[str] | None:
    for statement in reversed(found.body):
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return _named(statement.args)[1:]  # without self
    return None


def _named(arguments: ast.arguments) -> list[str]:
    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    return [argument.arg for argument in every]


def _binds(statement: ast.stmt, name: str) -> bool:
    """Whether a statement may give a name another value: by import, or somewhere within it."""
    definition = isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    for node in [statement] if definition else ast.walk(statement):
        match node:
            case ast.Import() | ast.ImportFrom():
                bound = [(each.asname or each.name).partition(".")[0] for each in node.names]
                if name in bound or "*" in bound:
                    return True
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() if node.name == name:
                return True
            case ast.Name(id=found, ctx=ast.Store() | ast.Del()) if found == name:
                return True
    return False
