"""What eos watch draws: every width and height, hostile text, the edge on its scale."""

from __future__ import annotations

import io
import math
import unicodedata
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.screen import Screen

from orchestrator.cli.output import plain
from orchestrator.cli.watch_display import Sparkline, draw
from orchestrator.plan import ColumnCounts, Counts
from orchestrator.slurm.job_states import JobState
from orchestrator.watch import ColumnLine, Failure, Jobs, RunningTrial, View

GD = RunningTrial(
    trial_id="0123456789abcdef",
    column="2×64 tanh seed 0",
    kind="gd",
    learning_rate=0.05,
    eta_over_final_eta_c=1.25,
    step=12_345,
    loss=0.0712,
    sharpness=(20.0, 38.0, None, 40.4),
    age_s=1.0,
)
FLOW = replace(
    GD, kind="flow", learning_rate=None, eta_over_final_eta_c=None, sharpness=(25.0, 50.0), step=100
)
STARTS = replace(GD, step=None, loss=None, sharpness=(), age_s=None)
FAILURE = Failure(
    "fedcba9876543210", 2, "out_of_memory", "MemoryError: too large", "n1", 50.0, True
)
JOB = JobState("4711", "running", "squeue", 0.0, state="RUNNING", nodes="n[1-2]", time_left_s=5400)
VIEW = View(
    name="grid",
    folder="grid-7",
    now=1_000_000.0,
    since=1_000_000.0 - 7200,
    until=1_000_000.0 - 60,
    columns=ColumnCounts(36, 3, 2, 30, 1),
    trials=Counts(settled=61, running=3, to_do=540, failed=1, skipped=7),
    remaining_s=7200.0,
    processes=4,
    active=True,
    lines=(
        ColumnLine(
            "c1",
            "mnist-mini-1000 fcn 2×64 tanh mse",
            Counts(settled=5, running=3, to_do=8, failed=1),
            None,
        ),
        ColumnLine("c2", "mnist-mini-1000 fcn 2×32 tanh mse", Counts(settled=1), "its flow ✗"),
    ),
    running=(FLOW, GD, STARTS),
    failures=(FAILURE,),
    jobs=Jobs((JOB,), None, 12.0),
)
MANY = replace(
    VIEW,
    lines=VIEW.lines * 40,
    running=tuple(replace(GD, trial_id=f"{i:016x}") for i in range(70)),
    failures=(FAILURE,) * 50,
    jobs=Jobs(tuple(replace(JOB, job_id=str(i)) for i in range(90)), "squeue: no answer", 3.0),
)


def lines(
    view: View, width: int, height: int | None = None, run: str = "runs/grid-7", trouble: str = ""
) -> list[str]:
    """The lines of a frame without a terminal, or, with a height, on the screen of one."""
    file = io.StringIO()
    console = Console(file=file, width=width, height=height)
    drawn = draw(view, run, width, height, trouble)
    console.print(drawn if height is None else Screen(drawn), end="")
    return [line.rstrip() for line in file.getvalue().removesuffix("\n").split("\n")]


def words(drawn: list[str]) -> str:
    """The lines, with one space between what stands in columns."""
    return "\n".join(" ".join(line.split()) for line in drawn)


@pytest.mark.parametrize("view", [VIEW, MANY], ids=["few", "many"])
@pytest.mark.parametrize("width", [1, 20, 40, 80, 100, 120, 250])
@pytest.mark.parametrize("height", [1, 4, 6, 12, 24, 30, 60, 400])
def test_a_frame_fits_its_terminal(view: View, width: int, height: int) -> None:
    drawn = lines(view, width, height)
    assert len(drawn) <= height
    assert max(map(cell_len, drawn)) <= width
    if height >= 6 and width >= 40:
        assert drawn[-1] == "Ctrl-C ends watching; the run goes on"
    assert max(map(cell_len, lines(view, width))) <= width


def test_at_80_columns_a_frame_says_all_that_matters() -> None:
    text = words(lines(VIEW, 80, 40))
    for said in (
        "grid in grid-7 since 1970-01-12",
        ", 2.0 h",
        "3/36 done, 2 running, 30 waiting, 1 failed",
        "61/605 done, 3 running, 540 to do, 1 failed, 7 skipped",
        "about 30 min to go with 4 active processes",
        "2×64 tanh seed 0",
        "2×64 tanh seed 0 1.25 12,345 0.0712 1.010 ▃▄·▅",
        "flow 100 0.0712 S 50 ▅█",
        "S·η/2 0 ▁▂▃▄ 1 ▅▆▇█ 2",
        "1.25 starts – –",
        "eos why runs/grid-7",
        "fedcba9876543210 out_of_memory given up MemoryError: too large",
        "SLURM jobs 1 live, 0 ended, asked 12 s ago",
        "4711 running n[1-2] 1.5 h left",
        "mnist-mini-1000 fcn 2×64 tanh mse",
        "5/17 1 failed, 3 running",
        "its flow ✗",
        "Ctrl-C ends watching",
    ):
        assert said in text, said


def test_at_40_columns_a_trial_has_its_rate_its_loss_and_its_edge() -> None:
    text = words(lines(VIEW, 40, 40)).split("\n")
    assert "1.25 0.0712 1.010 ▃▄·▅" in text
    assert not any("2×64 tanh seed 0" in line for line in text)
    assert "columns 3/36 done, 2 running, 1 failed" in text
    assert any(line.startswith("trials 61/605 done, 3 running, 1 fail") for line in text)


def test_wide_terminals_show_the_learning_rate() -> None:
    (line,) = (line for line in lines(VIEW, 120, 40) if "▃▄·▅" in line)
    assert line.split() == [
        "2×64", "tanh", "seed", "0", "1.25", "0.05", "12,345", "0.0712", "1.010", "▃▄·▅",
    ]  # fmt: skip


def test_one_column_needs_no_name() -> None:
    one = replace(
        VIEW,
        columns=ColumnCounts(1, 0, 1, 0, 0),
        running=(replace(GD, column=""),),
        lines=(replace(VIEW.lines[0]),),
    )
    text = lines(one, 80, 40)
    assert any(line.startswith("1.25") for line in text)
    assert not any("columns that run" in line for line in text)


def test_what_does_not_fit_is_counted() -> None:
    text = "\n".join(lines(MANY, 80, 30))
    for title in ("running trials", "failures", "SLURM jobs", "columns that run"):
        assert title in text
    assert text.count("… and ") == 4
    shown = sum("▃▄·▅" in line for line in lines(MANY, 80, 30))
    assert f"… and {70 - shown} more" in text


def test_without_a_height_there_is_no_hint_for_the_keyboard() -> None:
    text = lines(VIEW, 80)
    assert not any("Ctrl-C" in line for line in text)
    assert text[-1].strip() != ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trials": Counts(settled=17), "columns": ColumnCounts(1, 1, 0, 0, 0)}, "finished"),
        (
            {"trials": Counts(settled=16, failed=1), "columns": ColumnCounts(1, 0, 0, 0, 1)},
            "finished, with failures",
        ),
        ({"active": False, "processes": 0}, "no active workers"),
        ({"remaining_s": None}, "4 active processes"),
        ({"remaining_s": None, "processes": 1}, "1 active process"),
        ({"processes": 0}, "active, but no trial is running"),
    ],
)
def test_the_outlook_is_one_sentence(changes: dict[str, object], said: str) -> None:
    assert said in lines(replace(VIEW, **changes), 80, 30)  # type: ignore[arg-type]


def test_a_finished_run_took_until_its_last_trial_ended() -> None:
    done = replace(VIEW, trials=Counts(settled=17), until=VIEW.now - 3600)
    assert ", 60 min" in lines(done, 80)[0]


def test_an_unknown_queue_is_said_in_a_line() -> None:
    silent = replace(VIEW, jobs=Jobs((JOB,), "squeue is not installed here", 0.0))
    text = "\n".join(lines(silent, 80, 40))
    assert "the queue is not known (squeue is not installed here)" in text
    assert "4711" in text


def test_old_progress_of_a_trial_is_shown_with_its_age() -> None:
    old = replace(VIEW, running=(replace(GD, age_s=300.0),))
    assert "▃▄·▅ 5 min ago" in words(lines(old, 100, 40))


HOSTILE = (
    "\x1b]0;title\x07a\x1b[2J\x1b[1;1Hb\x1b[31mc\x1bPq#\x1b\\d\x9b5Ce\x1bcf\x00\x08\u202eg\r\nh\ti"
    "\x7f\x1b"
)


def test_nothing_from_outside_moves_the_cursor() -> None:
    """Escape sequences, control characters, marks of direction, and the markup of rich."""
    assert plain(HOSTILE) == "abcdef···g  h i·"
    text = "[red]x[/red]" + HOSTILE
    hostile = replace(
        VIEW,
        name=text,
        folder=text,
        lines=(replace(VIEW.lines[1], label=text, blocked=text),),
        running=(replace(GD, column=text),),
        failures=(replace(FAILURE, message=text, failure_class=text, trial_id=text),),
        jobs=Jobs((replace(JOB, job_id=text, nodes=text, reason=text, state=text),), text, 0.0),
    )
    drawn = "\n".join(lines(hostile, 250, None, text))
    assert drawn.count("[red]x[/red]abcdef") >= 6
    bad = {c for c in drawn if c != "\n" and unicodedata.category(c)[0] == "C"}
    assert bad == set()


def test_wide_characters_count_as_two() -> None:
    wide = replace(VIEW, running=(replace(GD, column="幅" * 40),), name="幅" * 100)
    drawn = lines(wide, 80, 30)
    assert max(map(cell_len, drawn)) <= 80
    (line,) = (line for line in drawn if "▃▄·▅" in line)
    assert line.endswith("1.010  ▃▄·▅")


def test_the_edge_lies_in_the_middle_of_the_scale() -> None:
    line = Sparkline([0.0, 0.49, 0.99, 1.0, 1.26, 1.99, 2.0, 2.5, -1.0], 2.0).drawn(9)
    assert line.plain == "▁▂▄▅▆████"[:8] + "▁"
    styles = [str(span.style) for span in line.spans]
    assert styles == ["cyan"] * 3 + ["yellow"] * 4 + ["red", "cyan"]


def test_a_sparkline_has_the_last_values_and_dots_for_the_unknown() -> None:
    values = [0.0, None, math.nan, math.inf, 1.0]
    assert Sparkline(values, 2.0).drawn(4).plain == "···▅"
    assert Sparkline([], 2.0).drawn(10).plain == ""
    assert Sparkline([0.0, 0.0], 0.0).drawn(10).plain == "▁▁"


def test_a_directory_that_cannot_be_read_now_is_said_below() -> None:
    drawn = lines(VIEW, 80, 30, "r", "r/trials could not be read:\x1b[2J Stale file handle")
    assert drawn[-1] == "not up to date: r/trials could not be read: Stale file handle"


def test_the_heading_of_short_names_is_whole() -> None:
    short = replace(VIEW, running=(replace(GD, column="2×48"),))
    assert any(line.startswith("column  η/final η_c") for line in lines(short, 80, 30))
