"""The tables of the paper's experiments: of a run directory, or kept in few columns in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestrator.analysis.claims import CLAIMS, ClaimVerdict, undecided, verdicts
from orchestrator.analysis.crossing_statements import READ_MEASURES
from orchestrator.analysis.run import READ_TRIALS
from orchestrator.ledger import Ledger
from orchestrator.store import MEASURES, TRIALS, Store, write_table
from orchestrator.sweep import Sweep

KEPT_TRIALS = (*READ_TRIALS, "finished_at", "wall_s", "device", "torch_version", "version")
"""Nothing that names the machine or a folder of it."""

EXPERIMENTS: pa.Schema = pa.schema(
    [
        ("experiment", pa.string()),
        ("column_id", pa.string()),
        ("n_settled", pa.int64()),
        ("n_left", pa.int64()),
    ]
)
"""A row per experiment and column of it, with its trials that are settled and that may run yet."""

_MACHINE = "eos.machine"


@dataclass(frozen=True)
class PaperTables:
    """``trials`` and ``measures`` of all experiments, and which columns each of these has."""

    trials: pa.Table
    measures: pa.Table
    experiments: pa.Table
    machine: str = ""

    @classmethod
    def of_run(cls, run: Path, sweeps: Mapping[str, Sweep]) -> PaperTables:
        """What a run directory has on experiments, by their names.

        Raises:
            FileNotFoundError: there is no such run directory.
        """
        columns = dict.fromkeys(column for sweep in sweeps.values() for column in sweep.columns)
        state = Ledger(run).read(tuple(columns))
        rows = [
            {
                "experiment": name,
                "column_id": column.column_id,
                "n_settled": (counts := state.column(column.column_id).counts).settled,
                "n_left": counts.left,
            }
            for name, sweep in sweeps.items()
            for column in sweep.columns
        ]
        store = Store(run)
        trials = store.table("trials", KEPT_TRIALS)
        measures = store.table("measures", READ_MEASURES)
        return cls(trials, measures, pa.Table.from_pylist(rows, schema=EXPERIMENTS))

    @classmethod
    def kept(cls, folder: Path) -> PaperTables:
        """What :meth:`keep` has written; columns that came later are NULL.

        Raises:
            FileNotFoundError: a table is not there.
        """
        trials, measures, experiments = (
            pq.read_table(folder / f"{name}.parquet")
            for name in ("trials", "measures", "experiments")
        )
        machine = (experiments.schema.metadata or {}).get(_MACHINE.encode(), b"").decode()
        for column in KEPT_TRIALS:
            if column not in trials.column_names:
                empty = pa.nulls(len(trials), TRIALS.field(column).type)
                trials = trials.append_column(TRIALS.field(column), empty)
        return cls(trials, measures, experiments, machine)

    def keep(self, folder: Path, machine: str) -> None:
        """Write the tables; ``machine`` says on what kind of one the trials were computed."""
        folder.mkdir(parents=True, exist_ok=True)
        column_ids = self.experiments["column_id"].unique()
        order = [(name, "ascending") for name in ("column_id", "trial_id", "epsilon")]
        ours = self.trials.filter(pc.is_in(self.trials["column_id"], column_ids)).sort_by(order)
        theirs = pc.is_in(self.measures["trial_id"], ours["trial_id"].unique())
        whole = pc.and_(theirs, pc.is_null(self.measures["layer"]))
        for name, table, schema, notes in (
            ("trials", ours.select(KEPT_TRIALS), TRIALS, {}),
            ("measures", self.measures.filter(whole).sort_by(order[1:]), MEASURES, {}),
            ("experiments", self.experiments, EXPERIMENTS, {_MACHINE: machine}),
        ):
            kept = pa.schema([schema.field(column) for column in table.column_names])
            write_table(folder / f"{name}.parquet", table, kept, notes)

    def verdicts(self) -> Iterator[ClaimVerdict]:
        """What the tables say to every claim, in the order of :data:`CLAIMS`."""
        for name in CLAIMS:
            its = self.experiments.filter(pc.equal(self.experiments["experiment"], name))
            settled, left = (pc.sum(its[f"n_{what}"]).as_py() for what in ("settled", "left"))
            if not len(its):
                yield from undecided(name, "the tables have no column of it")
            elif left:
                yield from undecided(name, f"not settled: {settled} of {settled + left} trials are")
            else:
                ours = pc.is_in(self.trials["column_id"], its["column_id"])
                yield from verdicts(name, self.trials.filter(ours), self.measures)
