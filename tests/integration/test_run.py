"""Runs as a user starts them: in a terminal, two at once, with networks of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_columns_share_nothing_but_the_tables(four_columns: Any) -> None:
    rows = four_columns.rows("trials")
    assert len(rows) == 12
    assert {row["width"] for row in rows} == {8, 12, 16, 20}
    phase = four_columns.query("SELECT column_id, eta_c FROM phase ORDER BY eta_c")
    assert {row["column_id"] for row in phase} == {row["column_id"] for row in rows}


def test_two_runs_at_once_share_the_work(four_columns: Any) -> None:
    assert len(four_columns.rows("trials")) == 12
    four_columns.assert_settled_once()
    assert {row["attempt"] for row in four_columns.rows("attempts")} == {1}


def test_ray_s_workers_write_the_tables_that_one_process_writes(
    in_a_terminal: Any, two_rates: Any
) -> None:
    assert in_a_terminal.run.science() == two_rates.science()
    assert in_a_terminal.run.trajectories() == two_rates.trajectories()
    in_a_terminal.run.assert_settled_once()


def test_nothing_is_left_running_and_home_is_untouched(in_a_terminal: Any) -> None:
    assert in_a_terminal.in_home == []
    assert str(in_a_terminal.run.path) not in in_a_terminal.processes


def test_in_a_terminal_the_display_is_live(in_a_terminal: Any) -> None:
    assert "columns" in in_a_terminal.shown
    assert "3/3" in in_a_terminal.shown
    assert "\x1b[" in in_a_terminal.shown  # it is drawn over, not written below
    assert "3 of 3 trials settled" in in_a_terminal.printed


NETWORKS = """
name: networks
problem: {dataset: digits, n_train: 20, loss: mse}
eta: {unit: absolute, values: [0.05]}
stop: {epsilon: 0.4, max_steps: 100}
measure: {also: [trace, norms], probes: 4}
grids:
  - problem: {architecture: "mynet.py:build", width: 6}
  - problem: {architecture: cnn, width: 4, depth: 1, parameterization: mup, base_width: 2}
  - problem:
      {dataset: "point(x=[2, 1], truth=[0.5, 0.5])", n_train: 1, architecture: diagonal,
       init_scale: 0.1, dtype: float64}
"""

MYNET = """
from torch import nn

def build(shape, width, outputs):
    channels, height, wide = shape
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * height * wide, width),
        nn.Tanh(),
        nn.Linear(width, outputs),
    )
"""


def test_custom_and_built_in_networks_go_from_the_sweep_file_to_the_tables(
    make_run: Callable[..., Any],
) -> None:
    run = make_run(text=NETWORKS)
    own = run.config.with_name("mynet.py")
    own.write_text(MYNET)
    run.run_with_ray()
    rows = {row["architecture"].partition("@")[0]: row for row in run.rows("trials")}
    assert set(rows) == {"mynet.py:build(width)", "cnn", "diagonal"}
    assert {row["status"] for row in rows.values()} <= {"reached", "max_steps"}
    assert (rows["cnn"]["parameterization"], rows["cnn"]["base_width"]) == ("mup", 2)
    assert len({row["init_hash"] for row in run.rows("trials")}) == 3
    assert {row["measure"] for row in run.rows("measures")} >= {"trace", "l1_norm"}
    own_row = rows["mynet.py:build(width)"]
    assert (own_row["width"], own_row["depth"], own_row["activation"]) == (6, None, None)
    digest = own_row["architecture"].partition("@")[2]
    assert (run.path / "models" / f"{digest}.py").read_text() == MYNET

    # The run directory has all it needs, and a changed file is another network.
    own.unlink()
    run.eos("resume", str(run.path))
    own.write_text(MYNET.replace("Tanh", "ReLU"))
    run.run()
    names = {row["architecture"] for row in run.rows("trials")}
    assert len({name for name in names if name.startswith("mynet.py")}) == 2
    run.assert_settled_once()
