"""Every benchmark runs to its end at its smallest size, and prints tables that can be true.

Nothing is said about speed: a time must be a positive number, and a ratio no absurd one.
"""

from __future__ import annotations

import ast
import importlib.util
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.forked import Forked

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RUN_BY_ANOTHER = {"allocators.py"}
"""Programs that have arguments for a script of this folder only, which starts them."""

MEASURED = ("jobs", "orchestrator", "os")
"""What no benchmark may change: the packages, and the system beneath them."""

Bounds = tuple[float, float]
SECONDS: Bounds = (0.0, 600.0)
MILLISECONDS: Bounds = (1e-9, 600e3)
RATIO: Bounds = (1e-4, 1e4)
MEMORY: Bounds = (0.0, 1e5)
ROUNDING: Bounds = (0.0, 1e-2)
SHARPNESS: Bounds = (1e-3, 1e5)
COUNT: Bounds = (1.0, 1e7)


@dataclass(frozen=True)
class Table:
    """What a table must have: how its rows begin, and the bounds of the numbers in its columns.

    A column may be blank (or a dash) where ``blank`` says so.
    """

    rows: list[str]
    numbers: dict[str, Bounds]
    blank: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Script:
    """The tables of a script, in their order, and the packages besides those of the tests."""

    tables: list[Table]
    packages: tuple[str, ...] = ()


PEERS = ("curvlinops", "hessian_eigenthings", "pyhessian")
BLOCKS = ["", ", 4 vectors", ", 8 vectors"]
OURS = ["ours, one batch", "ours, chunks of 2, graphs ret", "ours, chunks of 2, graphs reb"]
METHODS = ["linearize(grad)", "jvp(grad)", "curvlinops", "PyHessian", "hessian-eigenthings"]
PER_STEP = {"P n": COUNT, "alone": MILLISECONDS, **{f"K = {k}": MILLISECONDS for k in (4, 16, 64)}}
COSTS = {"CPU s": SECONDS, "wall s": SECONDS}
FLOW = {"gradients": COUNT, "HVPs": COUNT, "s": SECONDS, "S(end), %": (-5, 5), "s_gf, %": (-99, 99)}
CHUNKS = {"compiling s": SECONDS, "eager ms": MILLISECONDS, "compiled ms": MILLISECONDS}
VECTORS = {"ms a vector": MILLISECONDS, "/ one vector": RATIO, "MiB more at most": MEMORY}

SCRIPTS = {
    "curvature.py": Script(
        [
            Table(
                [
                    *("gradient, one batch", "gradient, chunks of 2"),
                    *(one for _ in BLOCKS for one in OURS),
                    "Cohen's recipe",
                    *(f"{one}, {way}" for one in METHODS for way in ("one batch", "batches of 2")),
                ],
                {
                    "ms a vector": MILLISECONDS,
                    "/ gradient": (0, RATIO[1]),  # of the smallest, a product takes next to nothing
                    "peak MB": MEMORY,
                    "set-up ms": (0, 600e3),
                    "difference": ROUNDING,
                },
                {"set-up ms", "difference"},
            ),
            Table(
                [
                    *["Cohen's recipe"] * 2,
                    *["ours, cold", "ours, warm", "ours, warm"] * 3,
                    *["curvlinops"] * 2,
                    *["hessian-eigenthings"] * 2,
                    "PyHessian",
                ],
                {"products": (1, 1000), "s": SECONDS, "speed-up": RATIO, "error of S": (0, 1)},
            ),
            Table(["8", "peak"], {"default": (0, 1e5), "mallopt": (0, 1e5)}),
        ],
        PEERS,
    ),
    "columns.py": Script(
        [
            Table(
                ["smallest"],
                {
                    "points": (50, 50),
                    "GD trials": (2, 2),
                    "gradients": COUNT,
                    "products": COUNT,
                    "loop s": SECONDS,
                    "ours s": SECONDS,
                    "loop ÷ ours": RATIO,
                    "CPU s ÷ floor": (1, 1e6),
                    "difference": (0, 1e-2),
                },
            )
        ]
    ),
    "central.py": Script(
        [
            Table(
                ["flow", "GD 1.5", "central 1.5"],
                {
                    "steps": COUNT,
                    "gradients": COUNT,
                    "products": COUNT,
                    "third derivatives": COUNT,
                    "test loss": (1e-3, 10),
                    "gradients a step of GD": (1, 1e4),
                    "s ÷ GD": RATIO,
                },
                {"third derivatives", "gradients a step of GD", "s ÷ GD"},
            )
        ]
    ),
    "diagonal.py": Script(
        [
            Table(
                ["200 runs together", "2 of them alone", "all of them alone"],
                {"steps": COUNT, "seconds": SECONDS},
            )
        ]
    ),
    "flow.py": Script(
        [
            Table(["RK4 0.25/S", "rkc2", "rk4", "dopri5", "bosh3"], FLOW, set(FLOW)),
            Table(["rkc2 1e-06", "rkc2", "RK4 h = 1/S"], FLOW, set(FLOW) - {"gradients"}),
        ],
        ("torchdiffeq",),
    ),
    "gpu.py": Script(
        [
            Table(["float32 matrix", "TF32", "TF32", "autocast", "product of", "convolution"], {}),
            Table(
                ["cnn"] * 2,
                {"gradient": ROUNDING, "product": ROUNDING, "dominant λ": ROUNDING},
            ),
            Table(
                ["cnn"] * 2,
                {"ms": MILLISECONDS, "/ gradient": RATIO, "floor ms": (0, 1e5)},
            ),
            Table(["cnn"], {"in blocks of 16": MILLISECONDS, "ratio": RATIO}),
            Table(["cnn"], {"gradient": MEMORY, "graphs kept": (-1e3, 1e5)}),
            Table(["digits, 50"] * 2 + ["digits, 200"] * 2, {**PER_STEP, "K = 1": MILLISECONDS}),
            Table(
                ["cnn"],
                {"ms alone": MILLISECONDS, "ms as a rank": MILLISECONDS, "ratio": RATIO},
            ),
            Table(
                ["2 rates"] * 2,
                {"gradients": COUNT, "ms a step of one": MILLISECONDS, "ms / floor": (1, 1e6)},
            ),
            Table(["cnn"] * 3, {"ms": MILLISECONDS, "ratio": RATIO, "difference": (0, 0)}),
            Table(["cnn"], {"set-up s": SECONDS, "ms": MILLISECONDS, "ratio": RATIO}),
        ]
    ),
    "many_jobs.py": Script(
        [
            Table(["2"], {"columns": (4, 4), "leased, each once": (4, 4), "tries a lease": (1, 4)}),
            *(
                [Table(["lease", "heartbeat", "look"], {"calls": (1, 1000)})]
                if shutil.which("strace")
                else []
            ),
            Table(["3"], {"starts of each": (10, 10), "squeue's KiB": (0, 100)}),
            Table(
                [jobs for jobs in ("1", "3", "10", "30", "100", "300", "1000") for _ in range(3)],
                {"hours to the end": (0.1, 100), "÷ ideal": (1, 100), "job time used": (0, 100)},
            ),
        ]
    ),
    "mutants.py": Script(
        [Table(["all", "jobs/spec"], {"mutants": (2, 2), "found": (1, 2), "untested": (0, 0)})]
    ),
    "overhead.py": Script(
        [
            Table(
                ["bare", "one by one", "plain Tune"],
                {"s": (1e-6, 600), "ms a trial above bare": (-600e3, 600e3), "÷ bare": RATIO},
            )
        ]
    ),
    "batches.py": Script(
        [
            Table(["diagonal", "digits 50", "digits 50"], {**PER_STEP, "K = 2": MILLISECONDS}),
            Table(
                ["digits 50"],
                {
                    "steps": (16, 1600),
                    "one by one": SECONDS,
                    "as a batch": SECONDS,
                    "ratio": RATIO,
                    "equal": (16, 16),
                    "difference": (0, 1e-6),
                },
            ),
        ]
    ),
    "paper_small.py": Script(
        [
            Table(
                [f"E{number}" for number in range(1, 22)],
                {"columns": COUNT, "settled": (0, 1000), "left": (0, 1000), "holds": (0, 6)},
            )
        ]
    ),
    "paper_size.py": Script([Table(["digits, mse"], {"settled": (3, 3), "left": (0, 0)})]),
    "phases.py": Script(
        [
            Table(
                ["400"],
                {"columns": (20, 20), "s": SECONDS, "intervals with η_c": (50, 100)},
            )
        ]
    ),
    "products.py": Script(
        [
            Table(
                ["graphs retained", "linearised", "graphs rebuilt"],
                {"ms a product": (0, 1e5), "/ gradient": RATIO, "difference": ROUNDING},
            ),
            Table(
                ["one vector", *(f"{many} vectors" for many in (2, 4, 8))],
                {**VECTORS, "difference": ROUNDING},
                {"MiB more at most", "difference"},
            ),
            Table(["1 of 4"], {**CHUNKS, "ratio": RATIO, "difference": ROUNDING}),
        ],
        PEERS,
    ),
    "published.py": Script(
        [Table(["0"], {"S": SHARPNESS, "published S": (77.5, 77.5), "loss": (1e-3, 10)})]
    ),
    "predicting.py": Script(
        [
            Table(
                [name for name in ("η_c", "2 η_c", *"12357", "largest") for _ in range(2)],
                {"places": (2, 2), "beyond": (0, 1), "cost": (0.0, 2.0)},
            )
        ]
    ),
    "refining.py": Script(
        [
            Table(
                ["synthetic", "diagonal", "digits"],
                {"rates": (9, 48), "uniform": (174, 174), "rates ÷ uniform": (0.05, 0.3)},
            )
        ]
    ),
    "scaling.py": Script(
        [
            Table(
                ["17, 16"] * 10 + ["17, compacted"] * 9,
                {**COSTS, "peak MiB": (1, 1e5)},
            )
        ]
    ),
    "tables.py": Script(
        [
            Table(
                [
                    *("parts, eos query", "parts, pandas", "parts, Store.table", "parts"),
                    *("compacted, eos query", "compacted, Store.table"),
                    *["compacted, 66 trials again"] * 2,
                ],
                {**COSTS, "peak GiB": (1e-3, 100)},
            )
        ]
    ),
    "widths.py": Script(
        [
            Table(
                [one for one in ("standard", "ntk", "mup") for _ in range(2)],
                {"width": (4, 8), "S at 0": SHARPNESS, "S at 4": SHARPNESS, "last loss": (0, 1e3)},
            )
        ]
    ),
}
STARTS_RAY = {"overhead.py"}


def _script(name: str) -> object:
    marks = [pytest.mark.integration] if name in STARTS_RAY else []
    return pytest.param(name, marks=marks, id=name.removesuffix(".py"))


@pytest.mark.parametrize("name", [_script(name) for name in SCRIPTS])
def test_the_smallest_size_runs_to_its_end_and_prints_what_can_be_true(
    name: str, tmp_path: Path
) -> None:
    script = SCRIPTS[name]
    absent = [package for package in script.packages if importlib.util.find_spec(package) is None]
    if absent:
        pytest.skip(f"{name} compares with packages that are not installed: {', '.join(absent)}")
    # Ray's sockets need a short name.
    temporary = tempfile.gettempdir() if name in STARTS_RAY else str(tmp_path)
    status, printed, said = _run(BENCHMARKS / name, tmp_path, TMPDIR=temporary)
    assert status == 0, said
    assert "failed" not in printed
    found = _tables(printed)
    assert len(found) == len(script.tables), printed
    for (heads, rows), expected in zip(found, script.tables, strict=True):
        _compare(heads, rows, expected)


def _run(script: Path, folder: Path, **environment: str) -> tuple[int, str, str]:
    """The exit status of a script at its smallest size, what it printed, and its errors."""
    environment["OMP_NUM_THREADS"] = "1"
    if "\nimport torch" in script.read_text():
        forked = Forked(script, "--smallest", folder=folder, **environment)
        try:
            return forked.wait(500), forked.printed, forked.said
        finally:
            forked.kill()
    ended = subprocess.run(
        [sys.executable, script, "--smallest"],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    return ended.returncode, ended.stdout, ended.stderr


def _tables(text: str) -> list[tuple[list[str], list[list[str]]]]:
    """Heads and rows of all Markdown tables."""
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
    tables = []
    for block in blocks:
        heads, line, *rows = (
            [cell.strip() for cell in row[1:-1].split(" | ")] for row in block.splitlines()
        )
        assert set("".join(line)) <= set("-|")
        tables.append((heads, rows))
    return tables


def _compare(heads: list[str], rows: list[list[str]], expected: Table) -> None:
    assert [len(row) for row in rows] == [len(heads)] * len(expected.rows), rows
    for row, start in zip(rows, expected.rows, strict=True):
        assert row[0].startswith(start)
    for head, (low, high) in expected.numbers.items():
        for row in rows:
            cell = row[heads.index(head)]
            if cell in ("", "–"):
                assert head in expected.blank, (head, row)
                continue
            number = re.match(r"[-+]?[\d,]*\.?\d+(?:e[-+]?\d+)?", cell)
            assert number, (head, row)
            value = float(number[0].replace(",", ""))
            assert math.isfinite(value), (head, row)
            assert low <= value <= high, (head, row)


def test_every_script_has_a_smallest_size() -> None:
    programs = {
        path.name
        for path in BENCHMARKS.glob("*.py")
        if 'if __name__ == "__main__"' in path.read_text()
    }
    assert programs - RUN_BY_ANOTHER == set(SCRIPTS)


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_no_benchmark_changes_what_it_measures(path: Path) -> None:
    """What is varied is an argument: a patched name says nothing about the package as it is."""
    tree = ast.parse(path.read_text())
    measured = {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if (getattr(node, "module", None) or alias.name).partition(".")[0] in MEASURED
    }
    changed = [
        ast.unparse(target)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for one in node.targets
        for target in (one.elts if isinstance(one, ast.Tuple) else [one])
        if isinstance(target, ast.Attribute)
        and ast.unparse(target.value).partition(".")[0] in measured
    ]
    assert changed == []
