"""The tables have the columns that users rely on."""

import pyarrow as pa
import pytest

from orchestrator.store import (
    ATTEMPTS,
    MEASURES,
    PHASE,
    PROVENANCE,
    SPECTRA,
    STATES,
    TABLES,
    TRAJECTORIES,
    TRIALS,
)
from orchestrator.store.schema import schema_of

TRIAL_COLUMNS = """
trial_id column_id kind sweep
dataset n_train architecture width depth activation loss weight_decay parameterization init_scale
seed dtype subset normalization base_width optimizer momentum beta2 damping start parent_id
start_step flow_id init_hash data_digest init_sharpness
eta eta_unit eta_multiple eta_over_eta_c eta_c s_gf
epsilon status steps time
train_loss data_loss train_accuracy test_loss test_accuracy
sharpness data_sharpness preconditioned_sharpness lambda_max lambda_min sharpness_residual
sharpness_converged
lambda_min_residual lambda_min_converged sharpness_mid max_sharpness
hvps gradients
l1_norm l2_norm distance_from_init distance_from_flow
oscillation at_edge third_derivatives reason
attempt started_at finished_at wall_s hostname device world_size slurm_job_id git_commit git_dirty
torch_version version
"""

TRAJECTORY_COLUMNS = """
trial_id column_id step time train_loss test_loss sharpness lambda_min l1_norm l2_norm
gradient_norm loss_rises realised_edge preconditioned_sharpness oscillation at_edge attempt
"""

MEASURE_COLUMNS = """
trial_id column_id epsilon point measure layer rank value standard_error residual attempt
"""

SPECTRUM_COLUMNS = """
trial_id column_id step rank eigenvalue residual attempt
"""

STATE_COLUMNS = """
trial_id column_id epsilon step time file bytes attempt
"""

ATTEMPT_COLUMNS = """
trial_id column_id attempt outcome failure_class error hostname slurm_job_id restart_count
started_at finished_at
"""

PHASE_COLUMNS = """
column_id epsilon eta_c eta_c_fitted eta_c_fitted_low eta_c_fitted_high transition flow_sharpness
edge_exponent edge_exponent_low edge_exponent_high edge_ratio edge_ratio_low edge_ratio_high
flat_spread l1_flow l1_flat l1_slope l1_slope_low l1_slope_high l1_r2 l1_rises l1_chance
test_loss_best eta_best eta_best_over_eta_c u_shaped u_depth u_spread u_eta undecided n_gd
n_diverged n_included n_short n_chance_crossing n_unconverged n_unmeasured
"""


@pytest.mark.parametrize(
    ("schema", "columns"),
    [
        (TRIALS, TRIAL_COLUMNS),
        (TRAJECTORIES, TRAJECTORY_COLUMNS),
        (MEASURES, MEASURE_COLUMNS),
        (SPECTRA, SPECTRUM_COLUMNS),
        (STATES, STATE_COLUMNS),
        (ATTEMPTS, ATTEMPT_COLUMNS),
        (PHASE, PHASE_COLUMNS),
    ],
    ids=["trials", "trajectories", "measures", "spectra", "states", "attempts", "phase"],
)
def test_tables_have_the_columns_users_rely_on_in_their_order(schema, columns) -> None:
    assert schema.names == columns.split()


@pytest.mark.parametrize(
    ("type_", "columns"),
    [
        (
            pa.int64(),
            "n_train width depth base_width seed start_step steps hvps gradients at_edge "
            "third_derivatives attempt world_size",
        ),
        (pa.bool_(), "sharpness_converged lambda_min_converged git_dirty"),
        (pa.timestamp("us", tz="UTC"), "started_at finished_at"),
        (
            pa.string(),
            "trial_id column_id kind sweep dataset architecture activation loss parameterization "
            "dtype subset normalization optimizer start parent_id flow_id init_hash data_digest "
            "eta_unit status reason hostname device slurm_job_id "
            "git_commit torch_version version",
        ),
    ],
)
def test_exactly_these_columns_of_trials_are_not_numbers(type_, columns) -> None:
    assert {field.name for field in TRIALS if field.type == type_} == set(columns.split())


def test_every_other_column_of_trials_is_a_number() -> None:
    others = [pa.int64(), pa.bool_(), pa.timestamp("us", tz="UTC"), pa.string()]
    assert {field.type for field in TRIALS} - set(others) == {pa.float64()}


def test_provenance_names_columns_and_no_result() -> None:
    assert set(TRIALS.names) >= PROVENANCE
    assert not PROVENANCE & {"trial_id", "epsilon", "status", "steps", "sharpness", "hvps"}


def test_an_unknown_table_is_named() -> None:
    assert list(TABLES) == ["trials", "trajectories", "measures", "spectra", "states", "attempts"]
    with pytest.raises(
        ValueError, match=r"'trails'.*trials, trajectories, measures, spectra, states, attempts"
    ):
        schema_of("trails", TABLES)
