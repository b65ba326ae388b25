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
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from rows import Size, column_id, make, repeat
from script import parse, table

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


def measure(about: str, name: str, command: list[str]) -> list[str]:
    """Run a command; a row of the table."""
    before = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall, cpu = time.perf_counter() - before, usage.ru_utime + usage.ru_stime
    figures = [f"{wall:.1f}", f"{cpu:.1f}", f"{usage.ru_maxrss / 2**20:.2f}"]
    return [about, name, *(figures if process.returncode == 0 else ["failed", "–", "–"])]


def ask(run: Path, about: str, queries: Sequence[str], with_pandas: bool) -> Iterator[list[str]]:
    """The queries, and what ``eos analyze`` reads of the trials."""
    for name in queries:
        yield measure(f"{about}, eos query", name, eos(run, SQL[name]))
        if with_pandas and name in PANDAS:
            yield measure(f"{about}, pandas", name, python(run, PANDAS[name], "import pandas"))
    yield measure(f"{about}, Store.table", "columns of all trials", python(run, READING))


def describe(run: Path) -> None:
    """Files and bytes of each table."""
    for name in TABLES:
        sizes = [path.stat().st_size for path in (run / name).glob("*.parquet")]
        if sizes:
            print(f"{name}: {len(sizes)} files, {sum(sizes) / 1e6:.0f} MB", file=sys.stderr)


def main() -> None:
    """Go through the stages that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1_000_000, help="rows of trials")
    parser.add_argument("--trajectory-rows", type=int, default=100_000_000)
    parser.add_argument("--parts", type=int, default=2000, help="files of each table")
    parser.add_argument("--run", type=Path, help="where the run directory is made and stays")
    parser.add_argument("--stages", nargs="+", help="some of the stages, of a run that is there")
    parser.add_argument("--queries", nargs="+", choices=list(SQL), default=list(SQL))
    smallest = {"trials": 200, "trajectory_rows": 1000, "parts": 4}
    options = parse(parser, **smallest, queries=["trajectories of a column"])
    with tempfile.TemporaryDirectory() as temporary:
        heads = ["state, reader", "what", "wall s", "CPU s", "peak GiB"]
        table(heads, all_stages(options, options.run or Path(temporary) / "run"))


def all_stages(options: argparse.Namespace, run: Path) -> Iterator[list[str]]:
    """The rows of the stages that were asked for."""
    size = Size(options.trials, options.trajectory_rows, options.parts)
    trials, parts = min(REPEATED_TRIALS, size.trials), min(REPEATED_PARTS, options.parts)
    ask_it = partial(ask, run, queries=options.queries)
    stages: dict[str, Callable[[], Iterable[list[str]]]] = {
        "make": lambda: make(run, size) or (),
        "parts": lambda: ask_it(about="parts", with_pandas=True),
        "compact": lambda: [measure("parts", "eos compact", python(run, COMPACT))],
        "compacted": lambda: ask_it(about="compacted", with_pandas=False),
        "repeat": lambda: repeat(run, size, trials, parts) or (),
        "repeated": lambda: ask_it(about=f"compacted, {trials} trials again", with_pandas=False),
    }
    for name in options.stages or stages:
        yield from stages[name]()
        describe(run)


if __name__ == "__main__":
    main()
