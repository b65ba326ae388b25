"""The edge to SLURM's programs: an answer, or one reason why there is none; and the jobs' name."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from support.slurm_programs import FakeSlurm
from support.waiting import until_gone

from orchestrator.slurm.command import SlurmUnavailable, as_moment, ask, moment
from orchestrator.slurm.queue import job_name


def alive_in_group(group: int) -> list[str]:
    """The processes of a group, but for corpses that nobody has buried yet."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, _, of, *_ = path.read_text().rpartition(")")[2].split()
            if int(of) == group and state not in "ZX":
                found.append(path.parent.name)
    return found


def test_the_text_comes_back_in_one_language_and_in_utc(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    monkeypatch.setenv("SQUEUE_FORMAT", "%i")
    for name in ("LOGNAME", "USER", "HOME"):
        monkeypatch.delenv(name, raising=False)
    slurm.answers("squeue", "some text\n")
    assert ask("squeue", ["--noheader"]) == "some text\n"
    assert slurm.environment("squeue") == ["C", "UTC0", ""]


def test_a_missing_program_is_named(slurm: FakeSlurm) -> None:
    slurm.remove("squeue")
    with pytest.raises(SlurmUnavailable, match="squeue is not installed here") as caught:
        ask("squeue", [])
    assert caught.value.missing


def test_a_program_that_cannot_be_run_is_named(slurm: FakeSlurm) -> None:
    (slurm.programs / "squeue").chmod(0o644)
    with pytest.raises(SlurmUnavailable, match=r"squeue cannot be run \(Permission denied\)"):
        ask("squeue", [])


def test_the_reason_is_the_program_s_own_message(slurm: FakeSlurm) -> None:
    slurm.fails("sacct", error="a layer below\nsacct: error: connection  refused")
    with pytest.raises(SlurmUnavailable) as caught:
        ask("sacct", [])
    assert caught.value.reason == "sacct: error: connection refused"
    assert not caught.value.missing
    slurm.answers("sacct", "", status=7)
    with pytest.raises(SlurmUnavailable, match="sacct: it ended with status 7"):
        ask("sacct", [])


def test_a_program_that_hangs_is_ended_with_all_that_it_started(slurm: FakeSlurm) -> None:
    slurm.hangs("squeue")
    with pytest.raises(SlurmUnavailable, match=r"squeue gave no answer within 1\.5 s"):
        ask("squeue", [], timeout=1.5)
    # Killed it is at once; dead it is when the kernel gets to it.
    until_gone(lambda: alive_in_group(slurm.process("squeue")), 10)


def test_a_controller_that_is_down_is_not_waited_for(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.slurm.command.QUIET_SECONDS", 0.2)
    slurm.hangs("squeue")
    slurm.pings("DOWN")
    with pytest.raises(SlurmUnavailable) as caught:
        ask("squeue", [], timeout=300)
    assert caught.value.reason == "scontrol ping says that Slurmctld(primary) at ctl is DOWN"


def test_a_controller_that_is_busy_is_waited_for(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.slurm.command.QUIET_SECONDS", 0.2)
    slurm.hangs("squeue")
    with pytest.raises(SlurmUnavailable, match=r"squeue gave no answer within 1\.5 s"):
        ask("squeue", [], timeout=1.5)
    assert slurm.calls("scontrol") == ["ping"]
    with pytest.raises(SlurmUnavailable, match="within 1 s"):  # of another cluster
        ask("squeue", ["--clusters=beta"], timeout=1)
    assert slurm.calls("scontrol") == ["ping"]


def test_times_are_read_as_they_are_given() -> None:
    now = float(int(time.time()))
    assert moment(as_moment(now)) == now
    for text in ("N/A", "NONE", "Unknown", "None", "", "in a while"):
        assert moment(text) is None


def test_a_run_has_one_name_however_its_path_is_written(tmp_path: Path) -> None:
    run = tmp_path / "an odd näme"
    run.mkdir()
    (tmp_path / "link").symlink_to(run)
    name = job_name(run, "widths")
    assert job_name(tmp_path / "link", "widths") == name
    assert job_name(run / ".." / run.name, "widths") == name
    assert name.startswith("eos-widths-")
    assert len(name) == len("eos-widths-") + 8
    assert job_name(tmp_path / "other", "widths") != name
