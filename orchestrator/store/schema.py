"""The columns of every table that a sweep leaves behind, in order and with their types."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

import pyarrow as pa

_TEXT, _COUNT, _NUMBER, _FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_MOMENT = pa.timestamp("us", tz="UTC")


def _columns(type_: pa.DataType, names: str) -> list[tuple[str, pa.DataType]]:
    return [(name, type_) for name in names.split()]


TRIALS: pa.Schema = pa.schema(
    [
        *_columns(_TEXT, "trial_id column_id kind sweep dataset"),
        *_columns(_COUNT, "n_train"),
        *_columns(_TEXT, "architecture"),
        *_columns(_COUNT, "width depth"),
        *_columns(_TEXT, "activation loss"),
        *_columns(_NUMBER, "weight_decay"),
        *_columns(_TEXT, "parameterization"),
        *_columns(_NUMBER, "init_scale"),
        *_columns(_COUNT, "seed"),
        *_columns(_TEXT, "dtype subset normalization"),
        *_columns(_COUNT, "base_width"),
        *_columns(_TEXT, "optimizer"),
        *_columns(_NUMBER, "momentum beta2 damping"),
        *_columns(_TEXT, "start parent_id"),
        *_columns(_COUNT, "start_step"),
        *_columns(_TEXT, "flow_id init_hash data_digest"),
        *_columns(_NUMBER, "init_sharpness eta"),
        *_columns(_TEXT, "eta_unit"),
        *_columns(_NUMBER, "eta_multiple eta_over_eta_c eta_c s_gf epsilon"),
        *_columns(_TEXT, "status"),
        *_columns(_COUNT, "steps"),
        *_columns(_NUMBER, "time train_loss data_loss train_accuracy test_loss test_accuracy"),
        *_columns(_NUMBER, "sharpness data_sharpness preconditioned_sharpness"),
        *_columns(_NUMBER, "lambda_max lambda_min sharpness_residual"),
        *_columns(_FLAG, "sharpness_converged"),
        *_columns(_NUMBER, "lambda_min_residual"),
        *_columns(_FLAG, "lambda_min_converged"),
        *_columns(_NUMBER, "sharpness_mid max_sharpness"),
        *_columns(_COUNT, "hvps gradients"),
        *_columns(_NUMBER, "l1_norm l2_norm distance_from_init distance_from_flow oscillation"),
        *_columns(_COUNT, "at_edge third_derivatives"),
        *_columns(_TEXT, "reason"),
        *_columns(_COUNT, "attempt"),
        *_columns(_MOMENT, "started_at finished_at"),
        *_columns(_NUMBER, "wall_s"),
        *_columns(_TEXT, "hostname device"),
        *_columns(_COUNT, "world_size"),
        *_columns(_TEXT, "slurm_job_id git_commit"),
        *_columns(_FLAG, "git_dirty"),
        *_columns(_TEXT, "torch_version version"),
    ]
)
"""One row per (trial_id, epsilon)."""

TRAJECTORIES: pa.Schema = pa.schema(
    [
        *_columns(_TEXT, "trial_id column_id"),
        *_columns(_COUNT, "step"),
        *_columns(_NUMBER, "time train_loss test_loss sharpness lambda_min l1_norm l2_norm"),
        *_columns(_NUMBER, "gradient_norm"),
        *_columns(_COUNT, "loss_rises"),
        *_columns(_NUMBER, "realised_edge preconditioned_sharpness oscillation"),
        *_columns(_COUNT, "at_edge attempt"),
    ]
)
"""One row per recorded step of a trial."""

MEASURES: pa.Schema = pa.schema(
    [
        *_columns(_TEXT, "trial_id column_id"),
        *_columns(_NUMBER, "epsilon"),
        *_columns(_TEXT, "point measure layer"),
        *_columns(_COUNT, "rank"),
        *_columns(_NUMBER, "value standard_error residual"),
        *_columns(_COUNT, "attempt"),
    ]
)
"""One row per number that a trial was asked to measure at a threshold besides those of its row."""

SPECTRA: pa.Schema = pa.schema(
    [
        *_columns(_TEXT, "trial_id column_id"),
        *_columns(_COUNT, "step rank"),
        *_columns(_NUMBER, "eigenvalue residual"),
        *_columns(_COUNT, "attempt"),
    ]
)
"""One row per leading eigenvalue at a recorded step, where the sweep file asks for them."""

STATES: pa.Schema = pa.schema(
    [
        *_columns(_TEXT, "trial_id column_id"),
        *_columns(_NUMBER, "epsilon"),
        *_columns(_COUNT, "step"),
        *_columns(_NUMBER, "time"),
        *_columns(_TEXT, "file"),
        *_columns(_COUNT, "bytes attempt"),
    ]
)
"""One row per state that a trial kept: at a threshold, or after so many steps (epsilon NULL)."""

ATTEMPTS: pa.Schema = pa.schema(
    [
        *_columns(_TEXT, "trial_id column_id"),
        *_columns(_COUNT, "attempt"),
        *_columns(_TEXT, "outcome failure_class error hostname slurm_job_id"),
        *_columns(_COUNT, "restart_count"),
        *_columns(_MOMENT, "started_at finished_at"),
    ]
)
"""One row per try of a trial."""

PHASE: pa.Schema = pa.schema(
    [
        *_columns(_TEXT, "column_id"),
        *_columns(_NUMBER, "epsilon eta_c eta_c_fitted eta_c_fitted_low eta_c_fitted_high"),
        *_columns(_FLAG, "transition"),
        *_columns(_NUMBER, "flow_sharpness edge_exponent edge_exponent_low edge_exponent_high"),
        *_columns(_NUMBER, "edge_ratio edge_ratio_low edge_ratio_high flat_spread"),
        *_columns(_NUMBER, "l1_flow l1_flat l1_slope l1_slope_low l1_slope_high l1_r2"),
        *_columns(_FLAG, "l1_rises"),
        *_columns(_NUMBER, "l1_chance test_loss_best eta_best eta_best_over_eta_c"),
        *_columns(_FLAG, "u_shaped"),
        *_columns(_NUMBER, "u_depth u_spread u_eta"),
        *_columns(_TEXT, "undecided"),
        *_columns(
            _COUNT,
            "n_gd n_diverged n_included n_short n_chance_crossing n_unconverged n_unmeasured",
        ),
    ]
)
"""One row per (column_id, epsilon), computed from the trials."""

EXCLUDED: pa.Schema = pa.schema(
    [*_columns(_TEXT, "trial_id column_id"), *_columns(_NUMBER, "epsilon"), *_columns(_TEXT, "why")]
)
"""One row per GD trial and ε that does not count for the analysis."""

PROBLEM_FIELDS: tuple[str, ...] = (
    *("dataset", "n_train", "architecture", "width", "depth", "activation", "loss"),
    *(
        "weight_decay",
        "parameterization",
        "init_scale",
        "seed",
        "dtype",
        "subset",
        "normalization",
        "base_width",
    ),
)
"""The columns of ``trials`` that say which problem a row is about."""

TRAINING_FIELDS: tuple[str, ...] = ("optimizer", "momentum", "beta2", "damping", "start")
"""Those that say by which optimiser it was trained, and from where; NULL of a flow."""

COLUMN_FIELDS: tuple[str, ...] = (*PROBLEM_FIELDS, *TRAINING_FIELDS)
"""Those that say, together with the protocol, of which column a row is."""

VALLEYS: pa.Schema = pa.schema(
    [
        *_columns(_TEXT, "group_id"),
        *(TRIALS.field(name) for name in COLUMN_FIELDS if name != "seed"),
        *_columns(_NUMBER, "epsilon"),
        *_columns(_COUNT, "n_seeds n_used"),
        *_columns(_NUMBER, "test_loss_best eta_best eta_best_over_eta_c"),
        *_columns(_FLAG, "u_shaped"),
        *_columns(_NUMBER, "u_depth u_spread"),
        *_columns(_TEXT, "undecided"),
    ]
)
"""One row per group of columns that differ in the seed alone, and ε: its valley of test loss."""

COLUMNS: pa.Schema = pa.schema(
    [
        *_columns(_TEXT, "column_id label"),
        *(TRIALS.field(name) for name in COLUMN_FIELDS),
        *_columns(_COUNT, "n_trials n_epsilon"),
    ]
)
"""One row per column."""

DEPENDENCE: pa.Schema = pa.schema(
    [
        *_columns(_TEXT, "field group_id parameterization"),
        *_columns(_NUMBER, "value_number"),
        *_columns(_TEXT, "value_text column_id"),
        *_columns(_NUMBER, "epsilon eta_c eta_c_fitted s_gf edge_ratio edge_exponent"),
        *_columns(_NUMBER, "l1_flow l1_slope test_loss_best eta_best_over_eta_c"),
    ]
)
"""One row per field, group of columns that differ in it alone, ε, and value of the field."""

TRENDS: pa.Schema = pa.schema(
    [
        *_columns(_TEXT, "field group_id parameterization"),
        *_columns(_NUMBER, "epsilon"),
        *_columns(_COUNT, "n_values n_known"),
        *_columns(_NUMBER, "s_gf_ratio s_gf_change s_gf_slope s_gf_slope_low s_gf_slope_high"),
        *_columns(_TEXT, "verdict reason"),
    ]
)
"""One row per field, group of columns that differ in it alone, and ε."""

AGREEMENT: pa.Schema = pa.schema(
    [
        *_columns(_TEXT, "scope_field scope_value"),
        *_columns(_COUNT, "n n_undecided"),
        *_columns(_NUMBER, "slope slope_low slope_high intercept r2"),
        *_columns(_NUMBER, "ratio_median ratio_low ratio_high"),
    ]
)
"""One row per scope: the fitted η_c against the predicted one."""

FINDINGS: pa.Schema = pa.schema(
    [
        *_columns(_TEXT, "statement_id statement verdict"),
        *_columns(_COUNT, "n_holds n_decided n_undecided"),
        *_columns(_NUMBER, "share_low share_high"),
        *_columns(_NUMBER, "value_low value_median value_high wanted_low wanted_high"),
        *_columns(_TEXT, "numbers"),
    ]
)
"""One row per statement that any sweep can be asked."""

GROWTH: pa.Schema = pa.schema(
    [
        *_columns(_TEXT, "column_id trial_id central_id flow_id"),
        *_columns(_NUMBER, "eta eta_over_eta_c epsilon"),
        *_columns(_NUMBER, "l1_flow l1_central l1_gd growth growth_central growth_oscillation"),
        *_columns(_NUMBER, "central_share test_loss_flow test_loss_central test_loss_gd"),
        *_columns(_NUMBER, "sharpness_central sharpness_gd steps_central"),
        *_columns(_COUNT, "steps_gd"),
    ]
)
"""One row per GD trial and ε with a central flow at the same η that reached ε as well."""

PREDICTIONS: pa.Schema = pa.schema(
    [
        *_columns(_TEXT, "column_id"),
        *_columns(_NUMBER, "epsilon"),
        *_columns(_TEXT, "candidate"),
        *_columns(_NUMBER, "eta eta_over_eta_c cost eta_best eta_best_low eta_best_high"),
        *_columns(_NUMBER, "test_loss_best error regret"),
        *_columns(_FLAG, "reaches"),
        *_columns(_TEXT, "undecided"),
    ]
)
"""One row per column, ε and candidate: the rate that it predicts to be best, and the best one."""

PREDICTORS: pa.Schema = pa.schema(
    [
        *_columns(_TEXT, "candidate meaning"),
        *_columns(_COUNT, "n n_without n_beyond"),
        *_columns(_NUMBER, "rank_correlation error_median regret_median regret_high"),
        *_columns(_NUMBER, "within_seeds cost_median"),
    ]
)
"""One row per candidate: how well it predicts over all columns and ε."""

ANALYSIS: dict[str, pa.Schema] = {
    "phase": PHASE,
    "excluded": EXCLUDED,
    "valleys": VALLEYS,
    "columns": COLUMNS,
    "dependence": DEPENDENCE,
    "trends": TRENDS,
    "agreement": AGREEMENT,
    "findings": FINDINGS,
    "growth": GROWTH,
    "predictions": PREDICTIONS,
    "predictors": PREDICTORS,
}
"""The tables that the analysis writes, each one file in the run's folder ``analysis``."""

TABLES: dict[str, pa.Schema] = {
    "trials": TRIALS,
    "trajectories": TRAJECTORIES,
    "measures": MEASURES,
    "spectra": SPECTRA,
    "states": STATES,
    "attempts": ATTEMPTS,
}
"""The tables that trials write, each a folder of part files in the run directory."""

SCHEMAS: dict[str, pa.Schema] = {**TABLES, **ANALYSIS}
"""The columns of all tables, by the names that users and SQL call them."""

KEYS: dict[str, tuple[str, ...]] = {
    "trials": ("trial_id",),
    "trajectories": ("trial_id",),
    "measures": ("trial_id",),
    "spectra": ("trial_id",),
    "states": ("trial_id",),
    "attempts": ("trial_id", "attempt"),
}
"""What readers take whole from one file: the newest of each trial, but every attempt."""

SORTED_BY: dict[str, tuple[str, ...]] = {
    "trials": ("column_id", "trial_id", "epsilon"),
    "trajectories": ("column_id", "trial_id", "step"),
    "measures": ("column_id", "trial_id", "epsilon", "point", "measure", "layer", "rank"),
    "spectra": ("column_id", "trial_id", "step", "rank"),
    "states": ("column_id", "trial_id", "step", "epsilon"),
    "attempts": ("trial_id", "attempt"),
}
"""The order of rows in a compacted file, so that a filter reads few row groups."""

ADDED: dict[str, frozenset[str]] = {
    "trials": frozenset(
        {
            *("data_digest", "eta_unit", "eta_multiple", "lambda_min_residual"),
            *("lambda_min_converged", "weight_decay", "data_loss", "data_sharpness"),
            *(*TRAINING_FIELDS, "flow_id", "parent_id", "start_step"),
            *("preconditioned_sharpness", "oscillation", "at_edge", "third_derivatives", "reason"),
        }
    ),
    "trajectories": frozenset(
        {
            *("gradient_norm", "loss_rises", "realised_edge", "preconditioned_sharpness"),
            *("oscillation", "at_edge"),
        }
    ),
    "attempts": frozenset({"column_id"}),
}
"""Columns that files of a table written before them lack: readers take each as NULL there."""

PROVENANCE: frozenset[str] = frozenset(
    {
        *("sweep", "eta_unit", "eta_multiple", "attempt", "started_at", "finished_at", "wall_s"),
        *("hostname", "device", "world_size", "slurm_job_id", "git_commit", "git_dirty"),
        *("torch_version", "version"),
    }
)
"""Columns that say where, when and for which sweep file; the others are equal whenever a trial is
computed again."""


def added_to(schema: pa.Schema) -> frozenset[str]:
    """The columns of a table that older files lack."""
    tables = [table for table, its_schema in TABLES.items() if its_schema is schema]
    return ADDED.get(tables[0], frozenset()) if tables else frozenset()


class UnknownTableError(ValueError):
    """A name that is no table's; says which name is nearest."""


def schema_of(table: str, tables: Mapping[str, pa.Schema] = SCHEMAS) -> pa.Schema:
    """The columns of one of some tables.

    Raises:
        UnknownTableError: there is no such table.
    """
    if table not in tables:
        raise UnknownTableError(f"table is {table!r}; it must be {_one_of(tables, table)}")
    return tables[table]


def check_columns(table: str, columns: Iterable[str]) -> None:
    """Make sure that a table has these columns.

    Raises:
        ValueError: it lacks one; says which name is nearest.
    """
    names = schema_of(table).names
    for column in columns:
        if column not in names:
            raise ValueError(
                f"column of {table} is {column!r}; it must be {_one_of(names, column)}"
            )


def _one_of(names: Iterable[str], wrong: str) -> str:
    near = difflib.get_close_matches(wrong, names, n=1)
    return f"one of {', '.join(names)}" + (f"; did you mean {near[0]!r}?" if near else "")
