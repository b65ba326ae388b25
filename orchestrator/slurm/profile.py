"""Cluster profiles: what jobs ask of a site's SLURM, and what the site's nodes are like."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from orchestrator.cluster import Allocation
from orchestrator.cluster.rendezvous import LONGEST_ROOT
from orchestrator.slurm.budget import Budget
from orchestrator.sweep import SweepError
from orchestrator.sweep.errors import dotted, shown, wrong
from orchestrator.sweep.yaml_text import read, read_file

STOP_SECONDS = 120
"""How long before its time limit a job begins to stop, unless the profile says otherwise."""

_OF_A_KEY = {
    "signal": "stop_seconds_before_end",
    **dict.fromkeys(("cpus-per-task", "cpus-per-gpu"), "cpus_per_node"),
    **dict.fromkeys(("gpus", "gpus-per-node", "gpus-per-socket"), "gpus_per_node"),
    **dict.fromkeys(("mem", "mem-per-cpu", "mem-per-gpu"), "memory_per_node"),
    **dict.fromkeys(("cluster", "clusters"), "clusters"),
    "nodefile": "nodelist",
    **{
        key: key
        for key in (
            "partition", "account", "qos", "nodes", "time", "constraint", "exclude", "nodelist",
            "reservation",
        )
    },
}  # fmt: skip
"""Options of sbatch that a key of the profile stands for."""

_REFUSED = {
    **{option: f"the profile has the key {key} for it" for option, key in _OF_A_KEY.items()},
    "array": "jobs share a run by themselves, so that each is a job of its own (--jobs)",
    **dict.fromkeys(
        ("output", "error", "open-mode"),
        "a job's log is RUN/slurm/JOB/JOB_0_log.out, where eos finds it",
    ),
    "input": "jobs read no input",
    **dict.fromkeys(
        ("requeue", "no-requeue"),
        "a job puts itself back into the queue, as max_timeouts and max_preemptions allow",
    ),
    "no-kill": "a job that lost a node restarts",
    **dict.fromkeys(
        (
            "ntasks", "ntasks-per-node", "ntasks-per-core", "ntasks-per-gpu", "ntasks-per-socket",
            "tasks-per-node",
        ),
        "a job has one task on each of its nodes",
    ),
    "gpus-per-task": "it would give each process other GPUs; the profile has the key gpus_per_node "
    "for it",
    "job-name": "eos finds a run's jobs by their name",
    "wrap": "the job's script is written by eos",
    "test-only": "eos launch --dry-run shows what would be submitted",
    **dict.fromkeys(
        ("parsable", "quiet", "wait"), "eos must get the job's number back at once"
    ),
}  # fmt: skip
"""Why each must be left out of a profile's ``extra``."""

_WHOLE = "a whole number of at least {}"
TIME_FORMS = (
    "a time limit as SLURM takes it: minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS "
    "or UNLIMITED"
)
_TIME_FORM = re.compile(r"(?:(?P<days>\d{1,6})-)?(?P<clock>\d{1,9}(?::\d{1,9}){0,2})")
_ENDLESS = ("UNLIMITED", "INFINITE", "-1")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_OPTION = re.compile(r"[a-z][a-z0-9-]+")


def _line(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or _CONTROL.search(value):
        raise ValueError("one line of text")
    return value.strip()


def _time(value: str) -> str:
    limit_seconds(value)
    return value


def _temp_root(value: str) -> str:
    if not value.startswith("/") or len(value.encode()) > LONGEST_ROOT:
        raise ValueError("no short absolute path")
    return value.rstrip("/") or "/"


def _setup(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
        raise ValueError("a list of lines")
    return tuple(value)


OneLine = Annotated[str, BeforeValidator(_line)]
Count = Annotated[int, Field(lt=2**31)]


@dataclass(frozen=True)
class JobSettings:
    """How a run behaves inside a job.

    Attributes:
        root: where temporary folders belong on the nodes; the system's place for None.
        interface: the network interface that the nodes use among themselves.
        stop_seconds: how long before its time limit a job begins to stop.
        max_timeouts: how often a job puts itself back into the queue at its time limit.
        max_preemptions: how often it does so after a preemption or the loss of a node.
        log: where trials are logged while they run, by name.
        key: tells the job that gets these settings from others of its number; None where it was not
            submitted by ``eos``.
        budget: what the run's jobs may use; None for as much as they need.
    """

    root: Path | None = None
    interface: str | None = None
    stop_seconds: int = STOP_SECONDS
    max_timeouts: int = 100
    max_preemptions: int = 1000
    log: tuple[str, ...] = ()
    key: str | None = None
    budget: Budget | None = None


def lead_seconds(stop_seconds: float, limit: float) -> float:
    """How long before its end a job of ``limit`` seconds begins to stop: a quarter at most."""
    return min(stop_seconds, limit / 4)


class Profile(BaseModel):
    """A cluster profile. What a site leaves to its own default is None; see the keys' descriptions.

    The frozen value travels to the jobs inside their pickles.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    partition: OneLine | None = Field(
        default=None, description="the name of a partition, or several separated by commas"
    )
    account: OneLine | None = Field(default=None, description="the account that pays for the jobs")
    qos: OneLine | None = Field(default=None, description="the name of a quality of service")
    nodes: Annotated[Count, Field(ge=1)] = Field(
        default=1, description=_WHOLE.format(1) + ", the nodes of each job"
    )
    gpus_per_node: Annotated[Count, Field(ge=0)] = Field(
        default=0, description=_WHOLE.format(0) + ", the GPUs that a job gets on each node"
    )
    cpus_per_node: Annotated[Count, Field(ge=1)] = Field(
        description=_WHOLE.format(1) + ", the CPUs that a job gets on each node"
    )
    memory_per_node: Annotated[OneLine, Field(pattern=r"^[0-9]{1,12}(?i:[KMGT]B?)?$")] | None = (
        Field(
            default=None,
            description="memory as SLURM takes it, such as 64G, or 0 for all of a node",
        )
    )
    cpu: OneLine | None = Field(
        default=None,
        description="the name of the nodes' CPUs as eos doctor --cluster shows it, for eos plan",
    )
    gpu: OneLine | None = Field(
        default=None,
        description="the name of the nodes' GPUs as eos doctor --cluster shows it, or such as "
        "A100, for eos plan",
    )
    time: Annotated[OneLine, AfterValidator(_time)] | None = Field(
        default=None, description=TIME_FORMS
    )
    constraint: OneLine | None = Field(default=None, description="features that nodes must have")
    exclude: OneLine | None = Field(default=None, description="nodes to leave out")
    nodelist: OneLine | None = Field(default=None, description="nodes that jobs must include")
    reservation: OneLine | None = Field(default=None, description="the name of a reservation")
    clusters: OneLine | None = Field(
        default=None, description="the cluster to submit to, where one SLURM serves several"
    )
    extra: Mapping[str, str | bool] = Field(
        default={}, description="a block of sbatch options, such as mail-type: END or nice: 100"
    )
    setup: Annotated[tuple[str, ...], BeforeValidator(_setup)] = Field(
        default=(), description="a list of shell lines that a job runs before Python"
    )
    python: OneLine | None = Field(
        default=None, description="the Python interpreter on the nodes, that has eos-sweep"
    )
    temp_root: Annotated[OneLine, AfterValidator(_temp_root)] = Field(
        default="/tmp",
        description=f"an absolute path of at most {LONGEST_ROOT} bytes (Ray's sockets lie "
        "below it, and their paths may have 107), on a disk of the node itself, such as /tmp",
    )
    interface: Annotated[OneLine, Field(pattern=r"^[A-Za-z0-9._:@-]{1,15}$")] | None = Field(
        default=None, description="the name of a network interface of the nodes, such as ib0"
    )
    stop_seconds_before_end: Annotated[int, Field(ge=1, le=65_535)] = Field(
        default=STOP_SECONDS,
        description="a whole number from 1 to 65535, the seconds before the time limit at which "
        "a job begins to stop (of short jobs, a quarter of their time)",
    )
    max_timeouts: Annotated[Count, Field(ge=0)] = Field(
        default=JobSettings.max_timeouts,
        description=_WHOLE.format(0) + ", how often a job puts itself back at its time limit",
    )
    max_preemptions: Annotated[Count, Field(ge=0)] = Field(
        default=JobSettings.max_preemptions,
        description=_WHOLE.format(0) + ", how often a job puts itself back when it was preempted",
    )

    @property
    def seconds(self) -> float:
        """The time limit of a job; infinite where there is none or the site's default counts."""
        return math.inf if self.time is None else limit_seconds(self.time)

    @property
    def minutes(self) -> int | None:
        """The time limit in whole minutes, to which SLURM rounds up; None where it is infinite."""
        return None if math.isinf(self.seconds) else math.ceil(self.seconds / 60)

    @property
    def job_settings(self) -> JobSettings:
        """What the jobs must know of the site."""
        return JobSettings(
            root=Path(self.temp_root),
            interface=self.interface,
            stop_seconds=self.stop_seconds_before_end,
            max_timeouts=self.max_timeouts,
            max_preemptions=self.max_preemptions,
        )

    @property
    def allocation(self) -> Allocation:
        """What a job will be granted, seen from its first node."""
        names = tuple(f"node {number}" for number in range(1, self.nodes + 1))
        return Allocation(names, 0, self.cpus_per_node, self.gpus_per_node, None)


def load_profile(path: Path) -> Profile:
    """The profile of a YAML file.

    Raises:
        SweepError: it cannot be read or used; one sentence says which key, which value, and what
            would be right.
    """
    named = f"the cluster profile {str(path)!r}"
    return parse_profile(read_file(path, named), named)


def parse_profile(text: str, source: str = "the cluster profile") -> Profile:
    """The profile of a YAML text; ``source`` is what messages call it. See :func:`load_profile`."""
    # Below the other keys SLURM must see what was written, such as 007.
    keys = "partition, nodes, cpus_per_node, ..."
    content = read(text, source, keys, shell=("setup",), numbers=_NUMBERS)
    for key in content:
        if key not in Profile.model_fields:
            raise _unknown(key)
    try:
        profile = Profile.model_validate(content)
    except ValidationError as error:
        raise _refusal(error) from None
    return profile.model_copy(update={"extra": _options(profile.extra)})


_NUMBERS = {
    "nodes", "gpus_per_node", "cpus_per_node", "stop_seconds_before_end", "max_timeouts",
    "max_preemptions",
}  # fmt: skip


def _refusal(error: ValidationError) -> SweepError:
    """What to say of the first thing that is wrong: a wrong value, else a missing key."""
    first = min(error.errors(), key=lambda each: each["type"] == "missing")
    key = str(first["loc"][0])
    expected = Profile.model_fields[key].description
    if first["type"] == "missing":
        return SweepError(f"{key} is missing; it must be {expected}")
    if key == "extra" and len(first["loc"]) > 1:
        return wrong(dotted(first["loc"][:2]), first["input"], "one line of text, or true")
    return wrong(key, first["input"], str(expected))


def _unknown(key: str) -> SweepError:
    close = difflib.get_close_matches(key, Profile.model_fields, n=1)
    if close:
        return SweepError(f"{dotted([key])} is not a known key; did you mean {close[0]}?")
    names = ", ".join(Profile.model_fields)
    return SweepError(
        f"{dotted([key])} is not a known key; a cluster profile has {names} (any other option of "
        "sbatch goes into extra)"
    )


def _options(extra: Mapping[str, str | bool]) -> dict[str, str | bool]:
    """The further options under sbatch's own names.

    Raises:
        SweepError: one is none, or has no value, or would break what jobs rely on.
    """
    options: dict[str, str | bool] = {}
    for key, value in extra.items():
        name, where = key.replace("_", "-"), dotted(["extra", key])
        if not _OPTION.fullmatch(name):
            raise SweepError(
                f"extra has the key {shown(key)}; it must be the long name of an sbatch option, "
                "such as mail-type"
            )
        gpus = name == "gres" and "gpu" in str(value)
        reason = _REFUSED.get("gpus" if gpus else name)
        if reason is not None:
            raise SweepError(f"{where} is {shown(value)}; it must be left out: {reason}")
        if value is False or (isinstance(value, str) and (_CONTROL.search(value) or not value)):
            raise wrong(where, value, "one line of text, or true for an option without a value")
        options[name] = value
    return options


def limit_seconds(text: str) -> float:
    """The length of a time limit; infinite for none, which SLURM also writes as 0.

    With days, a single number is of hours and two are of hours and minutes; without, of minutes,
    and of minutes and seconds.

    >>> limit_seconds("90"), limit_seconds("1-12"), limit_seconds("UNLIMITED")
    (5400.0, 129600.0, inf)

    Raises:
        ValueError: it is not a time limit.
    """
    text = text.strip()
    if text.upper() in _ENDLESS:
        return math.inf
    form = _TIME_FORM.fullmatch(text)
    if form is None:
        raise ValueError(f"{text!r} must be {TIME_FORMS}")
    numbers = [int(number) for number in form["clock"].split(":")]
    if form["days"] is not None:
        units, total = (3600, 60, 1), int(form["days"]) * 86_400
    else:
        units, total = (3600, 60, 1) if len(numbers) == 3 else (60, 1, 0), 0
    total += sum(number * unit for number, unit in zip(numbers, units, strict=False))
    return float(total) if total else math.inf
