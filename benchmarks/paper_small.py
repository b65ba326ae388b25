"""The page ``docs/paper-small.md``, made from the tables that are kept beside it.

    python benchmarks/paper_small.py --run runs/paper-small       # keep its tables, then as below
    python benchmarks/paper_small.py --page docs/paper-small.md   # the page, from the kept tables

Run it on the machine that computed the run: the page names its processor. Without options it prints
how many trials and verdicts each experiment has.
"""

from __future__ import annotations

import argparse
import os
import platform
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from script import parse, table

from orchestrator.analysis.claims import CLAIMS, ClaimVerdict
from orchestrator.analysis.paper_tables import PaperTables
from orchestrator.analysis.verdict import FAILS, HOLDS, MOSTLY_HOLDS, UNDECIDED
from orchestrator.sweep import load

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "docs" / "paper-small"
VERDICTS = (HOLDS, MOSTLY_HOLDS, FAILS, UNDECIDED)

PAGE = """\
# The paper's claims at a size for two cores

{about}

{made}

{state}

{rule}

## What appears, and what does not

{appears}

## Every claim

{claims}
"""

ABOUT = """\
`eos verify --paper-small` runs `configs/paper/small/` and asks the tables about every claim. This
page is made from the tables of such a run, which are kept in [paper-small](paper-small), by
`benchmarks/paper_small.py`: no number on it is typed. `eos verify --paper-small --kept
docs/paper-small` judges them again without a run.
"""

RULE = """\
Each claim names a statement of [the analysis](analysis.md#findings-what-holds), which is asked at
every column and threshold, or group of columns, that can decide it. It holds if it is right in all
of them, and mostly holds if the 95 % interval of the share in which it is right lies above one
half; else it does not hold. The bounds are in [bounds.py](../orchestrator/analysis/bounds.py). Most
networks are fully connected, ReLU, 2 × 64 on 1,000 samples;
[configs/paper](../configs/paper/README.md) has what each experiment is.
"""


def main() -> None:
    """Keep tables and write the page, as asked, then print a row per experiment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, help="keep the tables of this run directory first")
    small = ROOT / "configs" / "paper" / "small"
    parser.add_argument("--configs", type=Path, default=small, help="the sweep files of --run")
    parser.add_argument("--kept", type=Path, default=KEPT, help="the folder of the kept tables")
    parser.add_argument("--page", type=Path, help="write the page there")
    options = parse(parser)
    if options.run:
        sweeps = {path.name[:3]: load(path) for path in sorted(options.configs.glob("e*.yaml"))}
        PaperTables.of_run(options.run, sweeps).keep(options.kept, machine())
    tables = PaperTables.kept(options.kept)
    verdicts = list(tables.verdicts())
    if options.page:
        options.page.write_text(page(tables, verdicts))
    found = Counter((one.experiment, one.verdict) for one in verdicts)
    table(
        ["experiment", "columns", "settled", "left", *VERDICTS],
        [
            [number(name), *map(str, [*counts, *(found[name, verdict] for verdict in VERDICTS)])]
            for name, *counts in experiments(tables)
        ],
    )


def machine() -> str:
    """The processor of this machine and how many cores of it may be used."""
    cores = len(os.sched_getaffinity(0))
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    name = next(names, platform.processor() or platform.machine())
    return f"{cores} {'core' if cores == 1 else 'cores'} ({name})"


def experiments(tables: PaperTables) -> Iterator[tuple[str, int, int, int]]:
    """Each experiment with its columns, and its trials that are settled and left."""
    for name in CLAIMS:
        its = tables.experiments.filter(pc.equal(tables.experiments["experiment"], name))
        settled, left = (pc.sum(its[f"n_{what}"]).as_py() or 0 for what in ("settled", "left"))
        yield name, len(its), settled, left


def page(tables: PaperTables, verdicts: Sequence[ClaimVerdict]) -> str:
    """The whole page."""
    heads = ["experiment", "claim", "verdict", "numbers"]
    rows = [[number(one.experiment), one.claim, one.verdict, one.numbers] for one in verdicts]
    parts = {"about": ABOUT, "made": made(tables), "state": state(tables, verdicts), "rule": RULE}
    return PAGE.format(
        **{name: textwrap.fill(text, 110, break_on_hyphens=False) for name, text in parts.items()},
        appears=markdown(["claim", *VERDICTS], appears(verdicts)),
        claims=markdown(heads, rows),
    )


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def made(tables: PaperTables) -> str:
    """When the trials were computed, on what, and what of CIFAR-10 they have."""
    trials = tables.trials
    ends = pc.min_max(trials["finished_at"]).as_py()
    first, last = (f"{ends[end].day} {ends[end]:%B %Y}" for end in ("min", "max"))
    days = f"on {first}" if first == last else f"from {first} to {last}"
    alone = trials.group_by("trial_id").aggregate([("wall_s", "max")])
    hours = (pc.sum(alone["wall_s_max"]).as_py() or 0.0) / 3600
    n_columns = len(trials["column_id"].unique())
    cifar = [one for one in values(trials, "dataset") if one.startswith("cifar10(")]
    part = f" CIFAR-10 is a part of the official files: `{cifar[0]}`." if cifar else ""
    device, version, torch = (
        " and ".join(values(trials, name)) for name in ("device", "version", "torch_version")
    )
    return (
        f"It has {len(alone)} trials of {n_columns} columns, computed {days} by eos-sweep "
        f"{version} with torch {torch} on the {device} of a machine with {tables.machine}. One "
        f"after the other, they took {hours:.1f} hours.{part}"
    )


def values(trials: pa.Table, name: str) -> list[str]:
    """The values of a column, each once, in order."""
    return sorted(filter(None, trials[name].unique().to_pylist()))


def state(tables: PaperTables, verdicts: Sequence[ClaimVerdict]) -> str:
    """How many claims have which verdict, and which experiments are not settled."""
    counts = Counter(one.verdict for one in verdicts)
    known = {name: (settled, left) for name, _, settled, left in experiments(tables)}
    open_ = [
        f"{number(name)} ({settled} of {settled + left} trials)"
        for name, (settled, left) in known.items()
        if left
    ]
    said = f"Not settled, and so undecided: {', '.join(open_)}. " if open_ else ""
    return (
        f"{said}Of {len(verdicts)} claims {counts[HOLDS]} hold, {counts[MOSTLY_HOLDS]} mostly "
        f"hold, {counts[FAILS]} do not hold, and {counts[UNDECIDED]} are undecided."
    )


def appears(verdicts: Sequence[ClaimVerdict]) -> Iterator[list[str]]:
    """Of each claim the experiments by their verdicts, with its share where it is not whole."""
    for claim in dict.fromkeys(one.claim for one in verdicts):
        found: dict[str, list[str]] = {verdict: [] for verdict in VERDICTS}
        for one in verdicts:
            if one.claim == claim:
                part = one.verdict in (MOSTLY_HOLDS, FAILS)
                share = f" ({one.n_holds} of {one.n_decided})" if part else ""
                found[one.verdict].append(number(one.experiment) + share)
        yield [claim, *(", ".join(names) for names in found.values())]


def number(experiment: str) -> str:
    """Such as E1 for e01."""
    return f"E{int(experiment[1:])}"


if __name__ == "__main__":
    main()
