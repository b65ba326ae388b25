"""A mutation run: small changes of the code, one at a time, and whether a test fails for each.

    .venv/bin/python benchmarks/mutants.py [--sample 300] [--seed 0] > mutants.txt
    .venv/bin/python benchmarks/mutants.py --only jobs/curvature/krylov.py:57.11:constant ...

The mutants are comparisons, arithmetic, boolean operators, conditions, numbers, truth values,
returned values and calls that are left out, in ``jobs`` and the pure parts of ``orchestrator``.
A mutant is given to the test files about its module, one after the other, until a test fails: of
each file those tests that end in some seconds where nothing is changed. Nothing is written to the
working tree: a mutant lives in a forked process, which imports the changed module in place of the
file. Programs that a test starts see the file, unchanged. A survivor is a gap in the tests, a
change that only slower tests find, or one without effect; which of the three, a reader decides.

mutmut and cosmic-ray do the same with more operators. The first runs all tests in a copy of the
tree, the second starts an interpreter for each mutant, whose imports take longer here than the
tests that find most mutants.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import functools
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from script import parse, table

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (
    "jobs",
    "orchestrator/sweep",
    "orchestrator/plan",
    "orchestrator/analysis",
    "orchestrator/claims",
    "orchestrator/ledger",
)
TESTS = tuple(f"tests/{source}" for source in SOURCES)

HEAVY = {
    "jobs": ("pytest", "hypothesis", "torch", "scipy.optimize", "scipy.sparse.linalg"),
    "orchestrator": ("scipy.stats", "pandas", "pyarrow.parquet", "duckdb", "pydantic"),
}
"""What is imported once, before any fork, where there are mutants of a package."""

FILES = 3
"""A mutant is given at most so many times the seconds of one test file."""

CPU, WALL = 3, 60
"""A mutant is endless after so many times the CPU that its tests take; for one that waits, in
seconds of the clock."""

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
"""Operators, and what takes their place."""

VERDICTS = ("found", "endless", "survived", "untested")


@dataclass(frozen=True)
class Mutant:
    """One change: where it is, of which kind, and what it makes of that place."""

    path: str
    line: int
    column: int
    kind: str
    number: int
    before: str
    after: str

    @property
    def name(self) -> str:
        """What ``--only`` takes."""
        return f"{self.path}:{self.line}.{self.column}:{self.kind}"


@dataclass(frozen=True)
class Unchanged:
    """How many tests of a file passed on the code as it is, and their seconds of CPU."""

    tests: int
    seconds: float


def mutants(path: Path) -> Iterator[Mutant]:
    """All mutants of a file."""
    name = str(path.relative_to(ROOT))
    for number, (node, kind, change) in enumerate(_changes(ast.parse(path.read_text()))):
        texts = [ast.unparse(one).partition("\n")[0] for one in (node, change())]
        yield Mutant(name, node.lineno, node.col_offset, kind, number, *texts)


def changed(mutant: Mutant) -> CodeType:
    """The code of a mutant's module."""
    path = ROOT / mutant.path
    tree = ast.parse(path.read_text())
    for number, (node, _, change) in enumerate(_changes(tree)):
        if number == mutant.number:
            _replace(tree, node, change())
            break
    return compile(ast.fix_missing_locations(tree), str(path), "exec")


Change = tuple[Any, str, Callable[[], ast.AST]]
"""A node, the kind of change, and what makes the node that replaces it."""


def _changes(node: ast.AST) -> Iterator[Change]:
    """Every change of what is below a node, always in the same order."""
    for name, value in ast.iter_fields(node):
        if name in ("decorator_list", "annotation", "returns", "bases"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _says_nothing(child):
                for kind, change in _of(child):
                    yield child, kind, change
                yield from _changes(child)


def _says_nothing(node: ast.AST) -> bool:
    """Imports, errors' texts, names of what is exported, and what only types are for."""
    if isinstance(node, ast.Import | ast.ImportFrom | ast.Raise | ast.JoinedStr | ast.Assert):
        return True
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    return isinstance(node, ast.Assign) and "__all__" in ast.unparse(node.targets[0])


def _of(node: ast.AST) -> Iterator[tuple[str, Callable[[], ast.AST]]]:
    """The changes of one node, by kind."""
    match node:
        case ast.Compare(ops=[op, *_]) if type(op) in SWAPS:
            swapped = [SWAPS[type(op)](), *node.ops[1:]]
            yield "comparison", functools.partial(_with, node, ops=swapped)
        case ast.BinOp(op=op, right=right) | ast.AugAssign(op=op, value=right) if type(
            op
        ) in SWAPS and not _is_text(right):
            yield "arithmetic", functools.partial(_with, node, op=SWAPS[type(op)]())
        case ast.BoolOp(op=op):
            yield "boolean", functools.partial(_with, node, op=SWAPS[type(op)]())
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield "sign", lambda: operand
        case ast.Constant(value=bool() as value):
            yield "constant", functools.partial(_with, node, value=not value)
        case ast.Constant(value=int() as value):
            yield "constant", functools.partial(_with, node, value=value + 1)
        case ast.Constant(value=float() as value):
            yield "constant", functools.partial(_with, node, value=2 * value or 1.0)
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test) if not isinstance(
            test, ast.Compare | ast.BoolOp | ast.Constant
        ):
            yield "condition", functools.partial(_with, node, test=ast.UnaryOp(ast.Not(), test))
        case ast.Return(value=value) if value is not None and not _is_none(value):
            yield "return", functools.partial(_with, node, value=ast.Constant(None))
        case ast.Expr(value=ast.Call()):
            yield "left out", lambda: ast.copy_location(ast.Pass(), node)


def _with(node: ast.AST, **fields: Any) -> ast.AST:
    other = copy.copy(node)
    vars(other).update(fields)
    return other


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or isinstance(getattr(node, "value", None), str)


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _replace(tree: ast.Module, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list):
                setattr(parent, name, [new if one is old else one for one in value])


class _Import(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives the code of a mutant where its module is imported."""

    def __init__(self, mutant: Mutant) -> None:
        parts = Path(mutant.path).with_suffix("").parts
        self._package = parts[-1] == "__init__"
        self._name = ".".join(parts[:-1] if self._package else parts)
        self._file, self._code = str(ROOT / mutant.path), changed(mutant)

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        """For that one module."""
        if name != self._name:
            return None
        folders = [str(Path(self._file).parent)] if self._package else None
        return importlib.util.spec_from_file_location(
            name, self._file, loader=self, submodule_search_locations=folders
        )

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """As Python does."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Run the mutant."""
        exec(self._code, vars(module))


def in_a_fork(work: Callable[[], int], most: float) -> tuple[int | None, float]:
    """The exit status of some work in a process of its own, and its seconds of CPU; None and 0
    where it took longer than so many seconds.
    """
    child = os.fork()
    if not child:
        status = 99
        with contextlib.suppress(BaseException):
            os.setpgid(0, 0)
            status = work()
        os._exit(status)
    ends = time.monotonic() + most
    while time.monotonic() < ends:
        pid, status, used = os.wait4(child, os.WNOHANG)
        if pid:
            _end(child)
            return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
        time.sleep(0.02)
    _end(child)
    os.waitpid(child, 0)
    return None, 0.0


def _end(group: int) -> None:
    """End what is left of a group of processes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


class _Prefix:
    """Counts the tests of a file that end in so many seconds of CPU; or runs so many of them."""

    def __init__(self, seconds: float, tests: int | None) -> None:
        self._ends, self._tests, self.passed = time.process_time() + seconds, tests, 0

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Keep those that ended in time when nothing was changed."""
        if self._tests is not None:
            del items[self._tests :]

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Count, and see whether there is time for another."""
        self.passed += 1

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Stop where the time is over."""
        if self._tests is None and time.process_time() > self._ends:
            import pytest

            pytest.exit("the time is over", returncode=0)


def run_tests(file: Path, prefix: _Prefix) -> int:
    """pytest on one file, until a test fails."""
    import pytest

    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # to look for them takes as long as a test
    options = ["-x", "-q", "-p", "no:cacheprovider"]
    options += ["-p", "pytest_timeout", "-p", "_hypothesis_pytestplugin"]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        options += [f"--basetemp={folder}/tests", "--hypothesis-profile=ci"]
        return int(pytest.main([*options, str(file)], plugins=[prefix]))


@functools.cache
def unchanged(file: Path, seconds: float) -> Unchanged:
    """The tests of a file that pass in so many seconds of CPU, on the code as it is."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        record = Path(folder) / "passed"

        def work() -> int:
            prefix = _Prefix(seconds, None)
            status = run_tests(file, prefix)
            record.write_text(str(prefix.passed))
            return status

        status, used = in_a_fork(work, WALL * seconds)
        if status != 0:
            print(f"left out, not passing as it is: {file.relative_to(ROOT)}", file=sys.stderr)
            return Unchanged(0, used)
        return Unchanged(int(record.read_text()), used)


def about(path: str, tests: Sequence[Path]) -> list[Path]:
    """The test files about a module, those that say so most clearly first.

    That is by its name, by an import of the module, or by one of its folder; where there is none,
    all tests of the folder that mirrors its own.
    """
    parts = Path(path).with_suffix("").parts
    module, folder = ".".join(parts), ".".join(parts[:-1])

    def closeness(file: Path) -> int:
        text = file.read_text()
        if (
            file.stem == f"test_{parts[-1]}"
            and file.relative_to(ROOT / "tests").parts[0] == parts[0]
        ):
            return 3
        imported = re.search(rf"from {re.escape(folder)} import [^#]*?\b{parts[-1]}\b", text)
        if imported or re.search(rf"\b{re.escape(module)}\b", text):
            return 2
        return int(len(parts) > 2 and re.search(rf"\b{re.escape(folder)}\b", text) is not None)

    close = {file: closeness(file) for file in tests}
    mirror = ROOT / "tests" / Path(*parts[:-1])
    if not any(close.values()):
        close = {file: int(file.is_relative_to(mirror)) for file in tests}
    return sorted((file for file in tests if close[file]), key=lambda file: -close[file])


def verdict(mutant: Mutant, tests: Sequence[Path], seconds: float) -> tuple[str, str]:
    """One of ``VERDICTS``, and the test file that found the mutant.

    It is untested where no test file about it passes on the code as it is, in time.
    """

    def work(file: Path, known: Unchanged) -> int:
        most = int(CPU * known.seconds) + 10
        resource.setrlimit(resource.RLIMIT_CPU, (most, most + 1))
        sys.meta_path.insert(0, _Import(mutant))
        return run_tests(file, _Prefix(0.0, known.tests))

    spent = 0.0
    for file in about(mutant.path, tests):
        known = unchanged(file, seconds)
        if not known.tests or spent + known.seconds > FILES * seconds:
            continue
        spent += known.seconds
        status, _ = in_a_fork(functools.partial(work, file, known), WALL * (known.seconds + 10))
        if status != 0:
            how = "endless" if status in (None, -signal.SIGXCPU) else "found"
            return how, f"by {file.relative_to(ROOT)}"
    return "survived" if spent else "untested", ""


def files(places: Sequence[str], pattern: str) -> list[Path]:
    """The files that are named, and those of folders."""
    paths = [ROOT / place for place in places]
    return [one for path in paths for one in (sorted(path.rglob(pattern)) or [path])]


def chosen(options: argparse.Namespace) -> list[Mutant]:
    """The mutants to try."""
    every = [one for path in files(options.sources, "*.py") for one in mutants(path)]
    if options.only:
        return [mutant for mutant in every if mutant.name in options.only]
    return random.Random(options.seed).sample(every, min(options.sample, len(every)))


def main() -> None:
    """Try the mutants, a line for each as it ends, then a table of their number by folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=300, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--sources", nargs="+", default=SOURCES, metavar="PATH")
    parser.add_argument("--tests", nargs="+", default=TESTS, metavar="PATH")
    parser.add_argument("--only", nargs="+", metavar="MUTANT", help="these instead of a sample")
    parser.add_argument("--seconds", type=float, default=15.0, help="of CPU for each test file")
    smallest = ["jobs/spec/dataset_name.py"], ["tests/jobs/test_dataset_name.py"]
    options = parse(parser, sources=smallest[0], tests=smallest[1], sample=2)
    os.environ["OMP_NUM_THREADS"] = "1"
    trials = chosen(options)
    for name in {mutant.path.partition("/")[0] for mutant in trials}:
        for heavy in HEAVY["jobs"] + HEAVY[name]:
            importlib.import_module(heavy)
    tests = files(options.tests, "test_*.py")
    counts: dict[str, Counter[str]] = {}
    for mutant in trials:
        said, by = verdict(mutant, tests, options.seconds)
        line = f"{said} {by}: {mutant.name}: {mutant.before} → {mutant.after}"
        print(line, flush=True)
        counts.setdefault(str(Path(mutant.path).parent), Counter())[said] += 1
    counts["all"] = sum(counts.values(), Counter())
    rows = [
        [folder, str(count.total()), *(str(count[said]) for said in VERDICTS)]
        for folder, count in sorted(counts.items())
    ]
    table(["folder", "mutants", *VERDICTS], rows)


if __name__ == "__main__":
    main()
