"""Tables of 10⁶ trial rows and 10⁸ trajectory rows: what queries and compaction cost.

    .venv/bin/python benchmarks/tables.py [--trials 1000000] [--trajectory-rows 100000000]
        [--parts 2000] [--run DIR] [--stages make parts compact compacted repeat repeated]

Makes a run directory (``rows.py``; about 4 GB on disk at full size) and asks it the same with
``eos query`` and with ``pandas.read_parquet``: over the parts, over the compacted files, and after
some trials came a second time. Each figure is of a process of its own, its start and imports
included: wall time, which other programs on the machine lengthen, CPU time, and its peak memory.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rows import Size, column_id, make, repeat

from orchestrator.store import TABLES, examples

COLUMN = column_id(17)
REPEATED_TRIALS, REPEATED_PARTS = 200, 20

EXAMPLES = ("transition", "eigenvalues", "excluded", "around_the_edge")
SQL = {
    **{one.name: one.sql for one in examples() if one.name in EXAMPLES},
    "trajectories of a column": f"""
        SELECT trial_id, step, sharpness, train_loss FROM trajectories
        WHERE column_id = '{COLUMN}' ORDER BY trial_id, step""",
    "all trajectories, by column": """
        SELECT column_id, count(*) AS n, max(sharpness) AS s, min(train_loss) AS loss
        FROM trajectories GROUP BY column_id ORDER BY column_id""",
    "all trajectories, by step": """
        SELECT step, count(*) AS n, avg(sharpness) AS s FROM trajectories
        GROUP BY step ORDER BY step""",
}
"""What is asked with ``eos query``."""

PANDAS = {
    "transition": """
columns = ["column_id", "kind", "epsilon", "eta", "eta_over_eta_c", "status", "steps", "sharpness",
           "l1_norm", "test_loss"]
rows = pandas.read_parquet(run / "trials", columns=columns)
first = (rows.column_id == rows.column_id.min()) & (rows.epsilon == rows.epsilon.min())
result = rows[first & (rows.kind == "gd")].sort_values("eta")""",
    "eigenvalues": """
columns = ["kind", "epsilon", "sharpness", "sharpness_residual", "sharpness_converged"]
rows = pandas.read_parquet(run / "trials", columns=columns)
groups = rows.groupby(["kind", "epsilon"])["sharpness_residual"]
result = groups.agg(["size", "count", "median", "max"])""",
    "trajectories of a column": f"""
columns = ["trial_id", "step", "sharpness", "train_loss"]
rows = pandas.read_parquet(run / "trajectories", columns=columns,
                           filters=[("column_id", "==", "{COLUMN}")])
result = rows.sort_values(["trial_id", "step"])""",
    "all trajectories, by column": """
columns = ["column_id", "sharpness", "train_loss"]
rows = pandas.read_parquet(run / "trajectories", columns=columns)
each = rows.groupby("column_id")
result = each.agg(n=("train_loss", "size"), s=("sharpness", "max"), loss=("train_loss", "min"))""",
    "all trajectories, by step": """
rows = pandas.read_parquet(run / "trajectories", columns=["step", "sharpness"])
result = rows.groupby("step")["sharpness"].agg(["size", "mean"])""",
}
"""The same with pandas, which reads only the columns that it needs."""

READING = """
from orchestrator.store import Store
rows = Store(run).table("trials", ["column_id", "trial_id", "kind", "epsilon", "status", "eta",
    "eta_over_eta_c", "eta_c", "s_gf", "sharpness", "sharpness_converged", "l1_norm",
    "test_loss"])"""
COMPACT = "from orchestrator.store import compact\ncompact(run)"


def eos(run: Path, sql: str) -> list[str]:
    """The command line of a query, whose result goes to a file."""
    start = "from orchestrator.entry import main; main()"
    return [sys.executable, "-c", start, "query", str(run), sql, "-o", str(run.parent / "result")]


def python(run: Path, code: str, imports: str = "") -> list[str]:
    """The command line of some code about ``run``."""
    head = f"from pathlib import Path\n{imports}\nrun = Path({str(run)!r})\n"
    return [sys.executable, "-c", head + code]


def measure(about: str, name: str, command: list[str]) -> None:
    """Run a command and print a line of a table."""
    before = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall, cpu = time.perf_counter() - before, usage.ru_utime + usage.ru_stime
    figures = f"{wall:.1f} | {cpu:.1f} | {usage.ru_maxrss / 2**20:.2f}"
    print(
        f"| {about} | {name} | {figures if process.returncode == 0 else 'failed | – | –'} |",
        flush=True,
    )


def ask(run: Path, about: str, with_pandas: bool = False) -> None:
    """All queries, and what ``eos analyze`` reads of the trials."""
    for name, sql in SQL.items():
        measure(f"{about}, eos query", name, eos(run, sql))
        if with_pandas and name in PANDAS:
            measure(f"{about}, pandas", name, python(run, PANDAS[name], "import pandas"))
    measure(f"{about}, Store.table", "columns of all trials", python(run, READING))


def describe(run: Path) -> None:
    """Files and bytes of each table."""
    for table in TABLES:
        sizes = [path.stat().st_size for path in (run / table).glob("*.parquet")]
        if sizes:
            print(f"{table}: {len(sizes)} files, {sum(sizes) / 1e6:.0f} MB", file=sys.stderr)


def main() -> None:
    """Go through the stages that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1_000_000, help="rows of trials")
    parser.add_argument("--trajectory-rows", type=int, default=100_000_000)
    parser.add_argument("--parts", type=int, default=2000, help="files of each table")
    parser.add_argument("--run", type=Path, help="where the run directory is made and stays")
    parser.add_argument("--stages", nargs="+", help="some of the stages, of a run that is there")
    arguments = parser.parse_args()
    size = Size(arguments.trials, arguments.trajectory_rows, arguments.parts)
    with tempfile.TemporaryDirectory() as temporary:
        run = arguments.run or Path(temporary) / "run"
        stages: dict[str, Callable[[], None]] = {
            "make": lambda: make(run, size),
            "parts": lambda: ask(run, "parts", with_pandas=True),
            "compact": lambda: measure("parts", "eos compact", python(run, COMPACT)),
            "compacted": lambda: ask(run, "compacted"),
            "repeat": lambda: repeat(run, size, REPEATED_TRIALS, REPEATED_PARTS),
            "repeated": lambda: ask(run, "compacted, 200 trials again"),
        }
        print("| state, reader | what | wall s | CPU s | peak GiB |")
        print("|---|---|---|---|---|")
        for name in arguments.stages or stages:
            stages[name]()
            describe(run)


if __name__ == "__main__":
    main()
