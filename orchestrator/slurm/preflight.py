"""Ask the nodes of a profile, before anything is submitted, whether a run can run there."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.slurm.node_check import (
    SIGN,
    Answer,
    MeasuredDevice,
    Question,
    answer_path,
    folder_of,
    question_path,
    versions,
)
from orchestrator.slurm.profile import Profile
from orchestrator.slurm.records import private_folder
from orchestrator.slurm.submission import outside_jobs, private_files, reason
from orchestrator.store import write_bytes_whole
from orchestrator.store.clock import AHEAD_SECONDS, difference

WAIT_SECONDS = 30
"""For free nodes, unless told otherwise."""

CHECK_SECONDS = 240
"""For the check itself: Python's imports from a file system that many share take their time."""

SEEN_SECONDS = 10
"""For a file of a node to be seen here: network file systems remember what was not there."""

TERMINATE_SECONDS = 15

_BUSY = re.compile(
    r"nodes are busy|Immediate execution impossible|Required node not available|"
    r"not available now|accounting/QOS policy|it took longer than",
    re.IGNORECASE,
)
"""What srun says when a job of the kind could run, but not now."""

_NOT_OF_SRUN = {
    "begin", "dependency", "deadline", "export-file", "get-user-env", "hold", "ignore-pbs",
    "mail-type", "mail-user", "time-min",
}  # fmt: skip
"""Options of a profile that are left out here: srun does not know them, or would wait for them."""

_STARTED = "eos-node-started "


@dataclass(frozen=True)
class Preflight:
    """What the nodes said: ``unasked`` is why none could be asked, None when they were.

    ``warnings`` are what should be put right, though jobs can run. ``devices`` are those of the
    nodes whose speed was asked for, each name once.
    """

    nodes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unasked: str | None = None
    devices: tuple[MeasuredDevice, ...] = ()


def preflight(
    run: Path, profile: Profile, wait: int = WAIT_SECONDS, kinds: tuple[str, ...] = ()
) -> Preflight:
    """Ask as many nodes as a job has; the run directory must have been prepared.

    The question stays in the run directory. Of devices of these ``kinds`` the nodes measure the
    speed, which takes seconds, where that was not done before.
    """
    run = run.resolve()
    with private_files():
        question = _ask(run, profile, kinds)
        if wait < 1:
            return Preflight(unasked="--preflight-wait is 0")
        status, output, errors = _run(srun_command(run, profile, wait), wait + CHECK_SECONDS)
    started, answers = _parse(output)
    if not started:
        why = reason(errors, status)
        if _BUSY.search(why):
            return Preflight(unasked=f"no nodes were free within {wait} s: {why}")
        return Preflight(problems=(f"no node could be asked: srun says {why}",))
    _wait_for_files(run, answers.values())
    problems = [
        f"node {node}: {problem}"
        for task, node in sorted(started.items())
        for problem in _problems(run, question, answers.get(task), _of_task(errors, task, status))
    ]
    warnings = [
        f"node {answer.node}: its clock is {difference(answer.ahead, 'the file server')}"
        for _, answer in sorted(answers.items())
        if abs(answer.ahead) > AHEAD_SECONDS
    ]
    nodes = tuple(started[task] for task in sorted(started))
    devices = {
        (device.kind, device.name): device
        for _, answer in sorted(answers.items())
        for device in answer.devices
    }
    return Preflight(nodes, tuple(problems), tuple(warnings), devices=tuple(devices.values()))


def srun_command(run: Path, profile: Profile, wait: int) -> list[str]:
    """The command that asks: a small job of its own, on nodes as the profile wants them."""
    options: dict[str, str | bool | int | None] = {
        "job-name": "eos-preflight",  # not the name of the run's jobs, which are counted by it
        "immediate": wait,
        "time": 5,
        "nodes": profile.nodes,
        "ntasks": profile.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": profile.cpus_per_node,
        "gpus-per-node": profile.gpus_per_node or None,
        "mem": profile.memory_per_node,
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "exclude": profile.exclude,
        "nodelist": profile.nodelist,
        "reservation": profile.reservation,
        "clusters": profile.clusters,
        "mpi": "none",
        "label": True,
        "unbuffered": True,
        "kill-on-bad-exit": 0,
        "wait": 0,
        **{key: value for key, value in profile.extra.items() if key not in _NOT_OF_SRUN},
    }
    words = [
        f"--{key}" if value is True else f"--{key}={value}"
        for key, value in options.items()
        if value is not None
    ]
    python = shlex.quote(profile.python or sys.executable)
    script = [
        f'echo "{_STARTED}$SLURMD_NODENAME"',
        *profile.setup,
        f"exec {python} -P -m orchestrator.slurm.node_check {shlex.quote(str(run))}",
    ]
    return ["srun", *words, "/bin/bash", "-c", "\n".join(script)]


def _ask(run: Path, profile: Profile, kinds: tuple[str, ...]) -> Question:
    private_folder(run)
    folder = folder_of(run)
    folder.mkdir(mode=0o700, exist_ok=True)
    for path in folder.glob("*.json"):
        path.unlink(missing_ok=True)
    token = secrets.token_hex(16)
    question = Question(token, versions(), profile.temp_root, profile.interface, kinds)
    write_bytes_whole(question_path(run), json.dumps(asdict(question)).encode())
    return question


def _run(command: list[str], seconds: float) -> tuple[int, str, str]:
    """Exit status, output and errors of srun; at its end in time, else after a polite signal."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=outside_jobs(os.environ),
            start_new_session=True,  # Ctrl-C is for us; what srun is told is below
        )
    except FileNotFoundError:
        return 127, "", "error: srun is not installed here"
    with process:
        try:
            output, errors = process.communicate(timeout=seconds)
        except BaseException as error:
            # Told to end, srun takes its job out of the queue; killed, it would leave it there.
            process.terminate()
            try:
                output, errors = process.communicate(timeout=TERMINATE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                output, errors = process.communicate()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            errors += f"\nerror: it took longer than {seconds:.0f} s"
    return process.returncode, output, errors


def _parse(output: str) -> tuple[dict[int, str], dict[int, Answer]]:
    """The nodes that began, and what they answered, by the number of the task."""
    started: dict[int, str] = {}
    answers: dict[int, Answer] = {}
    for line in output.splitlines():
        label, _, text = line.partition(": ")
        if not label.strip().isdigit():
            continue
        if text.startswith(_STARTED):
            started[int(label)] = text.removeprefix(_STARTED).strip()
        elif text.startswith(SIGN):
            answers[int(label)] = Answer.from_json(json.loads(text.removeprefix(SIGN)))
    return started, answers


def _wait_for_files(run: Path, answers: Iterable[Answer]) -> None:
    expected = [answer_path(run, answer.node) for answer in answers if answer.token]
    end = time.monotonic() + SEEN_SECONDS
    while not all(path.exists() for path in expected) and time.monotonic() < end:
        time.sleep(0.2)


def _problems(run: Path, question: Question, answer: Answer | None, errors: str) -> Iterable[str]:
    if answer is None:
        return [f"the check did not get through: {errors}"]
    if answer.token is None or answer.problems:
        return answer.problems
    if answer.token != question.token or not answer_path(run, answer.node).exists():
        return [
            f"run directory {run} is not the same there as here; it must be on a file system that "
            "all nodes share"
        ]
    return ()


def _of_task(errors: str, task: int, status: int) -> str:
    """The last line that one task, or srun itself, complained in."""
    mine = [
        text
        for label, _, text in (line.partition(": ") for line in errors.splitlines())
        if label.strip() == str(task)
    ]
    return mine[-1].strip() if mine else reason(errors, status)
