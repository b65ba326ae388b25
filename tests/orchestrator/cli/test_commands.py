"""The commands: what they print, their exit status, and that looking changes nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from orchestrator.store import create, write_part

Eos = Callable[..., Any]
COMMANDS = [
    "quickstart", "init", "plan", "run", "resume", "status", "why", "logs", "query", "analyze",
    "report", "compact", "cancel", "watch", "export",
]  # fmt: skip


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def test_the_command_line_starts_without_what_takes_long_to_import() -> None:
    heavy = {"torch", "ray", "pandas", "matplotlib", "scipy.stats", "scipy.optimize", "cvxpy"}
    code = f"import sys, orchestrator.cli.app; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert found.stdout == "[]\n", found.stderr


@pytest.mark.parametrize("group", [(), ("data",)])
def test_the_first_line_of_every_command_fits_where_commands_are_listed(
    eos: Eos, group: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    answer = eos(*group, "--help")
    assert answer.status == 0
    listed = answer.out.partition("Commands:")[2].splitlines()[1:]
    assert listed
    assert [line for line in listed if not line.endswith(".") or line.endswith("...")] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(eos: Eos, command: str) -> None:
    answer = eos(command, "--help")
    assert answer.status == 0
    assert re.search(rf"Example: eos {command}\b", answer.out)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["problem.widht=3"], "problem.widht is not a known key; did you mean problem.width?"),
        (["problem.width=-3"], "problem.width is -3; it must be a whole number of at least 1"),
        (["problem.dataset=cifar"], "dataset is 'cifar'; it must be one of mnist-mini, digits"),
        (["problem.n_train=5000"], "n_train is 5000; it must be at most 1297 for dataset digits"),
        (["stop.epsilon=.nan"], "stop.epsilon"),
        (["eta.values=[]"], "eta.values"),
        (["problem.seed=1", "problem.seed=2"], "problem.seed"),
    ],
)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_bad_sweep_is_one_sentence_and_writes_nothing(
    eos: Eos, config: Path, tmp_path: Path, command: str, overrides: list[str], said: str
) -> None:
    before = everything(tmp_path)
    answer = eos(command, config, *overrides, "--run-dir", tmp_path / "new")
    assert answer.status == 2
    assert said in answer.error
    assert "\n" not in answer.error
    assert everything(tmp_path) == before


@pytest.fixture
def own(config: Path) -> Path:
    """A sweep file with a network of the user's own that speaks, and cannot be made."""
    path = config.parent / "mynet.py"
    path.write_text(
        "print('hello')\ndef build(width, depth, activation):\n    raise RuntimeError('boom')\n"
    )
    return config


OWN = "problem.architecture=mynet.py:build"
SAID = "network mynet.py:build: the factory failed: RuntimeError: boom"


def test_a_network_that_cannot_be_made_is_a_warning_of_plan(own: Path, tmp_path: Path) -> None:
    arguments = ["plan", str(own), OWN, "--run-dir", str(tmp_path / "new"), "--json"]
    code = f"from orchestrator.cli.app import app; app({arguments!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["trials"] == 4
    assert f"warning: {SAID}" in done.stderr.replace("\n", " ")
    assert "hello" in done.stderr


@pytest.mark.parametrize("command", ["run", "launch"])
def test_a_network_that_cannot_be_made_is_refused(
    eos: Eos, own: Path, tmp_path: Path, command: str
) -> None:
    before = everything(tmp_path)
    profile = Path(__file__).parents[3] / "configs" / "clusters" / "loopback.yaml"
    more = ["--cluster", profile] if command == "launch" else []
    answer = eos(command, own, OWN, "--run-dir", tmp_path / "new", *more)
    assert (answer.status, answer.error) == (2, SAID)
    assert everything(tmp_path) == before


def test_a_parameterization_that_a_network_has_not_got_is_refused(
    eos: Eos, config: Path, tmp_path: Path
) -> None:
    scaled = "problem.depth=0", "problem.parameterization=mup", "problem.base_width=4"
    answer = eos("run", config, *scaled, "--run-dir", tmp_path / "new")
    assert answer.status == 2
    assert "for fcn of depth 0 networks have no width" in answer.error
    assert not (tmp_path / "new").exists()


def test_unreadable_files_are_one_sentence(eos: Eos, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("name: [x\nproblem: }")
    for path in ("broken.yaml", "missing.yaml"):
        answer = eos("plan", tmp_path / path)
        assert answer.status == 2
        assert path in answer.error
        assert "\n" not in answer.error


def test_plan_counts_what_is_done_and_to_do(eos: Eos, config: Path, half_done: Path) -> None:
    fresh = json.loads(eos("plan", config, "--run-dir", half_done / "no", "--json").out)
    assert (fresh["trials"], fresh["settled"], fresh["to do"]) == (4, 0, 4)
    assert fresh["prior"] is True
    plan = json.loads(eos("plan", config, "--run-dir", half_done, "--json").out)
    assert (plan["trials"], plan["settled"], plan["to do"]) == (4, 2, 2)
    assert plan["prior"] is False
    assert plan["gradients"] > 0
    assert plan["files"] == 6
    assert "2 settled, 2 to do" in eos("plan", config, "--run-dir", half_done).out


@pytest.mark.timeout(120)  # who opens a pipe waits until somebody writes to it
def test_pipes_in_a_run_directory_stop_no_command(
    eos: Eos, half_done: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trial = json.loads(eos("query", half_done, "SELECT trial_id FROM trials", "--json").out)[0]
    logged = eos("logs", half_done, trial["trial_id"]).out
    pipes = [
        *("trials/odd.parquet", "attempts/odd.parquet", "claims/odd.claim", "claims/odd.running"),
        *(
            "claims/odd.rearmed",
            "live/odd.json",
            "logs/odd.log",
            "slurm/jobs/odd.json",
            "timed.json",
        ),
    ]
    for name in pipes:
        (half_done / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(half_done / name)
    status = json.loads(eos("status", half_done, "--json").out)
    assert sum(column["settled"] for column in status["columns"]) == 2
    assert eos("logs", half_done, trial["trial_id"]).out == logged
    said = [record.getMessage() for record in caplog.records]
    for name in set(pipes) - {"live/odd.json"}:
        assert said.count(f"{half_done / name} is left out: it is a named pipe") == 1
    assert any(f"{half_done / 'live/odd.json'} is left out" in one for one in said)


def test_looking_never_writes(eos: Eos, config: Path, half_done: Path) -> None:
    before = everything(half_done)
    trial = json.loads(eos("query", half_done, "SELECT trial_id FROM trials", "--json").out)[0]
    for arguments in (
        ("status", half_done),
        ("why", half_done),
        ("why", half_done, trial["trial_id"]),
        ("logs", half_done, trial["trial_id"]),
        ("plan", config, "--run-dir", half_done),
        ("query", half_done, "SELECT * FROM trajectories"),
        ("query", half_done),
    ):
        assert eos(*arguments).status == 0, arguments
    assert everything(half_done) == before


def test_trials_that_an_older_version_has_named_are_counted_apart(
    eos: Eos, config: Path, half_done: Path
) -> None:
    """Its names of columns and trials were others, and its rows had no digest of their data."""
    assert json.loads(eos("status", half_done, "--json").out)["older"] == 0
    for path in (half_done / "trials").glob("*.parquet"):
        older = pq.read_table(path).drop_columns("data_digest")
        for name in ("trial_id", "column_id"):
            names = [value[::-1] for value in older.column(name).to_pylist()]
            older = older.set_column(older.schema.get_field_index(name), name, [names])
        pq.write_table(older, path)
    said = (
        "2 settled trials of an older version do not count, because trials have other names now: "
        "their rows stay, and what the sweep asks for is computed again"
    )
    for command in (("status", half_done), ("plan", config, "--run-dir", half_done)):
        assert eos(*command).out.count(said) == 1
        answer = json.loads(eos(*command, "--json").out)
        assert answer["older"] == 2
    assert answer["settled"] == 0


def test_status_tells_settled_from_to_do(eos: Eos, half_done: Path) -> None:
    status = json.loads(eos("status", half_done, "--json").out)
    (column,) = status["columns"]
    counts = {key: column[key] for key in ("settled", "running", "failed", "skipped", "to_do")}
    assert counts == {"settled": 2, "running": 0, "failed": 0, "skipped": 0, "to_do": 2}
    assert column["last_result_s"] >= 0
    assert "2 trials settled, 2 left" in eos("status", half_done).out


def test_examples_are_sql_with_what_it_answers(eos: Eos) -> None:
    """Without a run directory; with one it is the same."""
    listed = json.loads(eos("query", "--examples", "--json").out)
    assert {"agreement", "widths", "valley", "excluded"} <= {one["name"] for one in listed}
    text = eos("query", "--examples").out
    assert all(f"-- {one['name']}: {one['about']}\n{one['sql']}" in text for one in listed)


def test_an_example_runs_by_its_name_in_every_format(eos: Eos, half_done: Path) -> None:
    rows = json.loads(eos("query", half_done, "--example", "transition", "--json").out)
    assert [row["status"] for row in rows] == ["reached"]
    header = eos("query", half_done, "--example", "transition", "--format", "csv").out
    assert header.startswith("eta_over_eta_c,status,steps,")
    assert eos("query", half_done, "--examples").out == eos("query", "--examples").out


def test_an_example_of_the_analysis_says_how_to_make_it(eos: Eos, half_done: Path) -> None:
    before = eos("query", half_done, "--example", "findings")
    assert f"findings do not exist yet; make them with eos analyze {half_done}" in before.out
    eos("analyze", half_done)
    after = eos("query", half_done, "--example", "findings")
    assert "not exist yet" not in after.out
    assert "Above η_c the final sharpness is 2/η." in after.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["RUN", "--example", "widht"], "--example is 'widht'; it must be one of agreement, "),
        (["RUN", "SELECT 1", "--example", "widths"], "it must be one of the two"),
        (["--example", "widths"], "RUN is missing; it must be a run directory"),
        ([], "RUN is missing; it must be a run directory"),
    ],
)
def test_an_example_that_cannot_be_run_is_one_sentence(
    eos: Eos, half_done: Path, arguments: list[str], said: str
) -> None:
    answer = eos("query", *(half_done if word == "RUN" else word for word in arguments))
    assert answer.status == 2
    assert said in answer.error


def test_query_gives_every_format(eos: Eos, half_done: Path, tmp_path: Path) -> None:
    sql = "SELECT kind, epsilon FROM trials ORDER BY kind, epsilon"
    rows = [{"kind": kind, "epsilon": eps} for kind in ("flow", "gd") for eps in (0.3, 0.4)]
    assert json.loads(eos("query", half_done, sql, "--format", "json").out) == rows
    assert eos("query", half_done, sql, "--format", "csv").out.splitlines()[:2] == [
        "kind,epsilon",
        "flow,0.3",
    ]
    assert "epsilon" in eos("query", half_done, sql).out
    path = tmp_path / "out.parquet"
    assert eos("query", half_done, sql, "--format", "parquet", "-o", path).status == 0
    assert pd.read_parquet(path).to_dict("records") == rows
    refused = eos("query", half_done, sql, "--format", "parquet")
    assert (refused.status, "-o FILE" in refused.error) == (2, True)


def test_bad_sql_is_one_sentence(eos: Eos, half_done: Path) -> None:
    answer = eos("query", half_done, "SELECT nothing FROM trials")
    assert answer.status == 2
    assert "nothing" in answer.error
    assert "\n" not in answer.error


@pytest.mark.parametrize(
    "command", ["status", "resume", "query", "why", "analyze", "report", "compact", "cancel"]
)
def test_what_is_no_run_directory_is_named(eos: Eos, tmp_path: Path, command: str) -> None:
    answer = eos(command, tmp_path / "nowhere")
    assert answer.status == 2
    assert "nowhere" in answer.error
    assert not (tmp_path / "nowhere").exists()


def test_a_trial_is_named_by_its_beginning(eos: Eos, half_done: Path) -> None:
    (row,) = json.loads(
        eos("query", half_done, "SELECT DISTINCT trial_id FROM trials LIMIT 1", "--json").out
    )
    answer = eos("why", half_done, row["trial_id"][:8])
    assert "attempt 1: settled" in answer.out
    unknown = eos("why", half_done, "zzz")
    assert (unknown.status, "'zzz'" in unknown.error) == (2, True)
    assert eos("logs", half_done, "").status == 2


def test_another_sweep_does_not_get_into_the_directory(
    eos: Eos, config: Path, half_done: Path
) -> None:
    answer = eos("run", config, "name=other", "--run-dir", half_done)
    assert answer.status == 2
    assert "belongs to sweep 'small'" in answer.error


def test_report_says_what_it_drew_and_what_it_left_out(
    eos: Eos, half_done: Path, tmp_path: Path
) -> None:
    asked = ("--output", tmp_path / "figures", "--figures", "trajectories", "--figures", "widths")
    answer = eos("report", half_done, *asked, "--json")
    assert answer.status == 0
    said, _, found = answer.out.partition("[")
    assert said == "figure widths is left out: no columns differ in width alone\n"
    drawn, page = json.loads("[" + found)
    assert all(Path(path).parent == tmp_path / "figures" for path in drawn["files"])
    assert [Path(path).suffix for path in drawn["files"]] == [".png", ".svg"]
    assert all(Path(path).stat().st_size > 10_000 for path in drawn["files"])
    assert "S·η/2" in drawn["caption"]
    assert page["name"] == "index"
    text = (tmp_path / "figures" / "index.html").read_text(encoding="utf-8")
    assert all(Path(path).name in text for path in drawn["files"])
    assert "name: small" in text
    assert not (half_done / "report").exists()


def test_report_names_a_figure_and_a_place_that_are_not_there(
    eos: Eos, half_done: Path, tmp_path: Path
) -> None:
    wrong = eos("report", half_done, "--figures", "bar")
    assert wrong.status == 2
    assert "--figures is 'bar'; it must be one of transition, test-loss, " in wrong.error
    (tmp_path / "file").write_text("")
    nowhere = eos("report", half_done, "--output", tmp_path / "file" / "figures")
    assert nowhere.status == 2
    assert "--output FOLDER must name a place that can" in nowhere.error


def test_analyze_prints_a_row_per_threshold(eos: Eos, half_done: Path) -> None:
    rows = json.loads(eos("analyze", half_done, "--json").out)
    assert [row["epsilon"] for row in rows] == [0.3, 0.4]
    assert all(row["n_gd"] == 1 for row in rows)


def test_no_text_of_a_table_acts_on_the_terminal(eos: Eos, tmp_path: Path) -> None:
    create(tmp_path)
    attempt = {"trial_id": "t", "attempt": 1, "outcome": "failed", "error": "\x1b]0;owned\x07bad"}
    write_part(tmp_path, "attempts", "t", [attempt])
    answer = eos("query", tmp_path, "SELECT error FROM attempts")
    assert answer.status == 0
    assert "bad" in answer.out
    assert "\x1b" not in answer.out


@pytest.mark.parametrize("command", [["query", "SELECT count(*) AS n FROM trials"], ["analyze"]])
def test_a_damaged_file_that_is_left_out_is_said(
    eos: Eos, tmp_path: Path, command: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    create(tmp_path)
    for name in "ab":
        row = {"trial_id": name, "attempt": 1, "column_id": "c", "epsilon": 0.1}
        path = write_part(tmp_path, "trials", name, [row])
    path.write_bytes(path.read_bytes()[:-20])
    answer = eos(command[0], tmp_path, *command[1:])
    assert answer.status == 0
    assert caplog.text.count(f"{path} is left out: ") == 1  # which goes to stderr


def test_of_a_long_table_the_first_rows_are_printed_and_the_rest_is_counted(
    eos: Eos, tmp_path: Path
) -> None:
    create(tmp_path)
    sql = "SELECT i AS number, ':warning:' AS text FROM range(1234) AS numbers(i) ORDER BY i"
    lines = eos("query", tmp_path, sql).out.splitlines()
    assert [line.split()[0] for line in lines if line.endswith(":warning: ")][-1] == "199"
    assert lines[-1] == "… and 1,034 more rows; --format csv, json or parquet has all, LIMIT fewer"
    assert len(eos("query", tmp_path, sql, "--format", "csv").out.splitlines()) == 1235


@pytest.mark.parametrize(
    "words",
    [
        ["plan", "CONFIG", "--run-dir", "LONG"],
        ["run", "CONFIG", "--run-dir", "LONG"],
        ["plan", "LONG"],
        *([command, "LONG"] for command in ("status", "why", "resume", "query", "analyze")),
        *([command, "LONG"] for command in ("report", "compact", "cancel")),
        ["watch", "LONG", "--once"],
        ["logs", "LONG", "a"],
        ["export", "RUN", "--output", "LONG"],
        ["report", "RUN", "--output", "LONG"],
    ],
    ids=" ".join,
)
def test_a_name_that_is_too_long_is_a_bad_request(
    eos: Eos, config: Path, half_done: Path, words: list[str]
) -> None:
    named = {"CONFIG": str(config), "RUN": str(half_done), "LONG": "a" * 300}
    answer = eos(*(named.get(word, word) for word in words))
    assert answer.status == 2
    assert "a" * 300 in answer.error
    assert "too long" in answer.error
    assert "Error" not in answer.error


def test_a_file_is_no_run_directory_for_plan_and_run_alike(eos: Eos, config: Path) -> None:
    answers = [eos(command, config, "--run-dir", config) for command in ("plan", "run")]
    assert [answer.status for answer in answers] == [2, 2]
    assert answers[0].error == answers[1].error
    assert answers[0].error.endswith("it must be a folder or a free name (it is a file)")


def test_analyze_names_columns_as_run_does(eos: Eos, half_done: Path) -> None:
    label = "digits-60 fcn 1×8 relu mse standard seed 0"
    whole = eos("analyze", half_done).out
    assert whole.count(label) == 2  # a line for each threshold
    (half_done / "sweep.yaml").unlink()  # a copy of the tables alone
    (column_id,) = {row["column_id"] for row in json.loads(eos("analyze", half_done, "--json").out)}
    assert eos("analyze", half_done).out.count(column_id) == 2


def test_a_result_without_rows_has_no_wide_header(eos: Eos, half_done: Path) -> None:
    assert eos("query", half_done, "SELECT * FROM trials WHERE eta > 1e9").out == "no rows\n"
    csv = eos("query", half_done, "SELECT * FROM trials WHERE eta > 1e9", "--format", "csv").out
    assert csv.startswith("trial_id,")
