"""A mutation run: small changes of the code, one at a time, and whether a test fails for each.

    .venv/bin/python benchmarks/mutants.py [--sample 300] [--seed 0] > mutants.txt
    .venv/bin/python benchmarks/mutants.py --only jobs/basis.py:57.11:constant ...

The mutants are comparisons, arithmetic, boolean operators, conditions, numbers, truth values,
returned values and calls that are left out, in ``jobs`` and the pure parts of ``orchestrator``.
First each test file runs alone, unchanged, and what it calls is recorded: a mutant is given to
those files only that call the function which it changes, the shortest first, until one fails.
Nothing is written to the working tree: a mutant lives in a forked process, which imports the
changed module in place of the file. Programs that a test starts see the file, unchanged. A
survivor is a gap in the tests or a change without effect; which of the two, a reader decides.

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
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

from measuring import table

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

HEAVY = ("torch", "scipy.optimize", "scipy.sparse.linalg", "scipy.stats", "sklearn.datasets")
HEAVY += ("pandas", "pyarrow.parquet", "duckdb", "pydantic", "omegaconf", "hypothesis", "pytest")
"""What is imported once, before any fork."""

TIMES = 10
AT_LEAST = 60.0
"""A mutant is given up, as one that was found, after so many times what its tests take, and never
before so many seconds."""

MODULE = 0
"""The line that stands for what a module does when it is imported."""

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

VERDICTS = ("found", "endless", "survived", "not called")

Called = dict[str, set[int]]
"""By file, the first lines of the functions that were called."""


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
    function: int

    @property
    def name(self) -> str:
        """What ``--only`` takes."""
        return f"{self.path}:{self.line}.{self.column}:{self.kind}"


@dataclass(frozen=True)
class Unchanged:
    """A test file that passed as the code is: its seconds of CPU, and what it called."""

    seconds: float
    called: Called


def mutants(path: Path) -> Iterator[Mutant]:
    """All mutants of a file."""
    name = str(path.relative_to(ROOT))
    for number, (function, node, kind, change) in enumerate(_changes(ast.parse(path.read_text()))):
        texts = [ast.unparse(one).partition("\n")[0] for one in (node, change())]
        yield Mutant(name, node.lineno, node.col_offset, kind, number, *texts, function)


def changed(mutant: Mutant) -> CodeType:
    """The code of a mutant's module."""
    path = ROOT / mutant.path
    tree = ast.parse(path.read_text())
    for number, (_, node, _, change) in enumerate(_changes(tree)):
        if number == mutant.number:
            _replace(tree, node, change())
            break
    return compile(ast.fix_missing_locations(tree), str(path), "exec")


Change = tuple[int, Any, str, Callable[[], ast.AST]]
"""The first line of the function, the node, the kind, and what makes the node that replaces it."""


def _changes(tree: ast.Module) -> Iterator[Change]:
    """Every change of a module, always in the same order."""

    def walk(node: ast.AST, function: int) -> Iterator[Change]:
        for name, value in ast.iter_fields(node):
            if name in ("decorator_list", "annotation", "returns", "type_params", "bases"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if not isinstance(child, ast.AST) or _says_nothing(child):
                    continue
                for kind, change in _of(child):
                    yield function, child, kind, change
                inside = function
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                    inside = min([child.lineno, *(one.lineno for one in child.decorator_list)])
                yield from walk(child, inside)

    yield from walk(tree, MODULE)


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


def run_tests(file: Path) -> int:
    """pytest on one file, until a test fails."""
    import pytest

    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        options += [f"--basetemp={folder}/tests", "--hypothesis-profile=ci"]
        return int(pytest.main([*options, str(file)]))


def unchanged(file: Path) -> Unchanged | None:
    """One test file on the code as it is; None where it does not pass."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        record = Path(folder) / "called.json"

        def work() -> int:
            seen: set[CodeType] = set()

            def profile(frame: FrameType, event: str, _: object) -> None:
                if event == "call":
                    seen.add(frame.f_code)

            threading.setprofile(profile)
            sys.setprofile(profile)
            status = run_tests(file)
            sys.setprofile(None)
            called: dict[str, list[int]] = {}
            for code in seen:
                if code.co_filename.startswith(f"{ROOT}/"):
                    name = code.co_filename.removeprefix(f"{ROOT}/")
                    line = MODULE if code.co_name == "<module>" else code.co_firstlineno
                    called.setdefault(name, []).append(line)
            record.write_text(json.dumps(called))
            return status

        status, seconds = in_a_fork(work, 3600.0)
        if status != 0:
            return None
        called = json.loads(record.read_text())
    return Unchanged(seconds, {name: set(lines) for name, lines in called.items()})


def verdict(mutant: Mutant, tests: dict[Path, Unchanged], most: float) -> tuple[str, str]:
    """One of ``VERDICTS``, and the test file that found the mutant in so many seconds of tests."""
    calling = {
        file: one.seconds
        for file, one in tests.items()
        if mutant.function in one.called.get(mutant.path, ())
    }
    if not calling:
        return "not called", ""

    def work(file: Path) -> int:
        sys.meta_path.insert(0, _Import(mutant))
        return run_tests(file)

    spent = 0.0
    for file in sorted(calling, key=calling.__getitem__):
        spent += calling[file]
        if spent > most and spent > calling[file]:
            break
        limit = max(AT_LEAST, TIMES * calling[file])
        status, _ = in_a_fork(functools.partial(work, file), limit)
        if status != 0:
            how = "endless" if status is None else "found"
            return how, f"by {file.relative_to(ROOT)}"
    return "survived", ""


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
    """Try the mutants, a line for each as it ends, and count them by folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=300, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--sources", nargs="+", default=SOURCES, metavar="PATH")
    parser.add_argument("--tests", nargs="+", default=TESTS, metavar="PATH")
    parser.add_argument("--only", nargs="+", metavar="MUTANT", help="these instead of a sample")
    parser.add_argument("--seconds", type=float, default=60.0, help="of tests for a mutant")
    parser.add_argument("--smallest", action="store_true", help="a few mutants of one module")
    options = parser.parse_args()
    if options.smallest:
        options.sources, options.sample = ["jobs/spec/dataset_name.py"], 3
        options.tests = ["tests/jobs/test_dataset_name.py"]
    os.environ["OMP_NUM_THREADS"] = "1"
    trials = chosen(options)
    for name in HEAVY:
        importlib.import_module(name)
    tests = {}
    for file in files(options.tests, "test_*.py"):
        one = unchanged(file)
        if one is None:
            print(f"left out, not passing as it is: {file.relative_to(ROOT)}", file=sys.stderr)
        else:
            tests[file] = one
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
    table(["folder", "mutants", *VERDICTS], rows, True)


if __name__ == "__main__":
    main()
