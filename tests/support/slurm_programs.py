"""SLURM's programs as a test wants them: they print what they are told, fail or hang, and count."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from orchestrator.slurm import accounting, queue
from orchestrator.slurm.command import SEPARATOR, as_moment

PROGRAMS = ("squeue", "sacct", "scancel", "scontrol", "sbatch")

SCRIPT = """#!/bin/sh
printf '%s\\n' "$*" >> "{folder}/{program}.calls"
printf '%s %s %s\\n' "$LC_ALL" "$TZ" "$SQUEUE_FORMAT" > "{folder}/{program}.environment"
if [ -e "{folder}/{program}.hangs" ]; then
  echo $$ > "{folder}/{program}.pid"
  exec /bin/sleep 600
fi
if [ "$*" = "show config" ]; then
  /bin/cat "{folder}/clock.out"
elif [ "$*" = "ping" ]; then
  exec /bin/cat "{folder}/ping.out"
else
  /bin/cat "{folder}/{program}.out"
fi
/bin/cat "{folder}/{program}.err" >&2
read status < "{folder}/{program}.status"
exit "$status"
"""


class FakeSlurm:
    """A folder of programs; what each prints is a file beside it."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "bin"
        self.programs.mkdir(parents=True)
        self._folder = folder
        for program in PROGRAMS:
            path = self.programs / program
            path.write_text(SCRIPT.format(folder=folder, program=program))
            path.chmod(0o755)
            self.answers(program, "")
        self.clock(None)
        self.pings("UP")

    def answers(self, program: str, text: str, *, error: str = "", status: int = 0) -> None:
        """From now on a program prints this and ends with this status."""
        self._file(program, "out").write_text(text)
        self._file(program, "err").write_text(error)
        self._file(program, "status").write_text(f"{status}\n")

    def fails(self, *programs: str, error: str = "Unable to contact slurm controller") -> None:
        """From now on these programs fail as with a controller that is down."""
        for program in programs:
            self.answers(program, "", error=f"{program}: error: {error}\n", status=1)

    def clock(self, seconds: float | None) -> None:
        """From now on it is that time for the controller; None where it does not tell."""
        dated = "" if seconds is None else f"Configuration data as of {as_moment(seconds)}\n"
        (self._folder / "clock.out").write_text(dated)

    def pings(self, word: str) -> None:
        """From now on the controller is UP or DOWN for who asks whether it is."""
        (self._folder / "ping.out").write_text(f"Slurmctld(primary) at ctl is {word}\n")

    def hangs(self, program: str) -> None:
        """From now on a program never ends."""
        self._file(program, "hangs").touch()

    def remove(self, *programs: str) -> None:
        """From now on there are no such programs."""
        for program in programs:
            (self.programs / program).unlink()

    def calls(self, *programs: str) -> list[str]:
        """The arguments of every call so far, of all programs unless some are named."""
        return [
            line
            for program in programs or PROGRAMS
            if self._file(program, "calls").exists()
            for line in self._file(program, "calls").read_text().rstrip("\n").split("\n")
        ]

    def environment(self, program: str) -> list[str]:
        """LC_ALL, TZ and SQUEUE_FORMAT of a program's last call."""
        return self._file(program, "environment").read_text().rstrip("\n").split(" ")

    def process(self, program: str) -> int:
        """The number of a program that hangs."""
        return int(self._file(program, "pid").read_text())

    def _file(self, program: str, kind: str) -> Path:
        return self._folder / f"{program}.{kind}"


def queue_line(
    job_id: str,
    state: str = "RUNNING",
    *,
    name: str,
    restarts: int = 0,
    reason: str = "None",
    nodes: str = "n1",
    submitted: float = 0.0,
    starts: float | None = None,
    ends: float | None = None,
    cluster: str = "hpc",
    raw_id: str | None = None,
    user: int | None = None,
) -> str:
    """A line of ``squeue`` as it is asked for, with the widths left out."""
    values = {
        "Cluster": cluster,
        "UserID": str(os.getuid() if user is None else user),
        "JobArrayID": job_id,
        "JobID": raw_id or job_id,
        "State": state,
        "Reason": reason,
        "RestartCnt": str(restarts),
        "SubmitTime": as_moment(submitted),
        "StartTime": "N/A" if starts is None else as_moment(starts),
        "EndTime": "N/A" if ends is None else as_moment(ends),
        "TimeLimit": "1-00:00:00",
        "NodeList": nodes,
        "Name": name,
        "Comment": "(null)",
    }
    return "".join(f"{values[field]} {SEPARATOR}" for field in queue.FIELDS) + queue.END + "\n"


def account_line(
    job_id: str,
    state: str,
    code: str = "0:0",
    *,
    submitted: float = 0.0,
    started: float | None = 0.0,
    ended: float | None = None,
    nodes: str = "n1",
) -> str:
    """A line of ``sacct`` as it is asked for, of a job or (``17.batch``) a step."""
    start, end = ("Unknown" if one is None else as_moment(one) for one in (started, ended))
    values = (job_id, job_id, state, code, as_moment(submitted), start, end, "hpc", nodes)
    assert len(values) == len(accounting.FIELDS)
    return SEPARATOR.join(values) + "\n"


def everything(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every file and folder below one, with its times and size: the same if nothing was written."""
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_ctime_ns, path.stat().st_size)
        for path in _all(folder)
    }


def _all(folder: Path) -> Iterable[Path]:
    return [folder, *sorted(folder.rglob("*"))]
