"""What this process may use: the share of its machine, or of the machines of a SLURM job."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobs.machine import machine_memory

NO_GPUS = {"", "NoDevFiles", "-1", "none", "void"}
"""What CUDA_VISIBLE_DEVICES says when no GPU is meant."""


MEMORY_SHARE = 0.8
"""Of a machine's memory, for all trials together; the rest is for Ray and for the system."""


class AllocationError(RuntimeError):
    """A process that cannot tell what it was granted, or was started in a way that wastes it."""


@dataclass(frozen=True)
class Allocation:
    """The machines that a run has, and what this process may use of its own.

    ``nodes`` are the names of all machines, of which this process has number ``node_id``; on number
    0 the run is led. ``cpus``, ``gpus`` and ``memory`` (bytes) are those of this machine; None
    leaves it to what the machine has. ``job_id`` is None outside of SLURM; ``restart`` counts how
    often SLURM has put the job back into its queue, ``step`` names the step of the job, and
    ``submission`` tells it from other jobs that bear or bore its number, where that is known.
    ``ends_at`` is when SLURM will end the job, in seconds since the epoch. ``hint`` is something to
    tell the user.
    """

    nodes: tuple[str, ...]
    node_id: int
    cpus: int
    gpus: int | None
    memory: int | None
    job_id: str | None = None
    restart: int = 0
    step: str = ""
    submission: str = ""
    ends_at: float | None = None
    hint: str | None = None

    @property
    def key(self) -> str:
        """A name for this start of this step of the job, and for nothing else."""
        step = f"{self.step}-{self.submission}" if self.submission else self.step
        return f"{self.job_id}.{self.restart}.{step}"

    @property
    def memory_for_trials(self) -> int:
        """Bytes of this machine that all trials together may use."""
        return int(MEMORY_SHARE * min(self.memory or machine_memory(), machine_memory()))

    @property
    def leads(self) -> bool:
        """Whether the run is led from here."""
        return self.node_id == 0


def here(
    environment: Mapping[str, str] = os.environ, usable: Sequence[int] | None = None
) -> Allocation:
    """The allocation in which this process finds itself.

    Args:
        environment: the process's environment.
        usable: the CPUs that the process may run on; what the system says unless given.

    Raises:
        AllocationError: the process is beside its SLURM job, or only one of several that it needs.
    """
    cpus = len(os.sched_getaffinity(0) if usable is None else usable)
    job_id = environment.get("SLURM_JOB_ID")
    if not job_id:
        return Allocation(("localhost",), 0, cpus, None, None)
    if "SLURMD_NODENAME" not in environment:
        raise AllocationError(
            f"this shell holds SLURM job {job_id} but is not one of its processes; start it with "
            "srun --ntasks-per-node=1 before the command, or unset SLURM_JOB_ID to use this machine"
        )
    in_step = environment.get("SLURM_STEP_ID", "").isdigit()
    listed = (in_step and environment.get("SLURM_STEP_NODELIST")) or environment.get(
        "SLURM_JOB_NODELIST", environment["SLURMD_NODENAME"]
    )
    nodes = tuple(expand_nodes(listed))
    if len(nodes) > 1 and not in_step:
        raise AllocationError(
            f"SLURM job {job_id} has {len(nodes)} nodes, and this process was started on one of "
            "them only; put srun --ntasks-per-node=1 before the command"
        )
    if in_step and int(environment.get("SLURM_LOCALID", "0")) > 0:
        raise AllocationError(
            f"SLURM job {job_id} starts several processes on one node; it must start one on each, "
            "which uses all CPUs and GPUs there: srun --ntasks-per-node=1"
        )
    node_id = int(environment.get("SLURM_NODEID", "0")) if in_step else 0
    granted = _cpus(environment, in_step, node_id)
    return Allocation(
        nodes=nodes,
        node_id=node_id,
        cpus=min(cpus, granted or cpus),
        gpus=gpus_granted(environment),
        memory=_memory(environment, granted or cpus),
        job_id=job_id,
        restart=_number(environment.get("SLURM_RESTART_COUNT")) or 0,
        step=environment["SLURM_STEP_ID"] if in_step else "batch",
        ends_at=_number(environment.get("SLURM_JOB_END_TIME")),
        hint=_hint(environment, cpus, granted),
    )


def expand_nodes(text: str) -> list[str]:
    """The names in a list as SLURM writes it: ``n[1-3,07],login2`` has five."""
    names = []
    for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text):
        heads = [""]
        for plain, ranges in re.findall(r"([^\[]+)|\[([^\]]*)\]", part):
            tails = [plain] if plain else [n for r in ranges.split(",") for n in _range(r)]
            heads = [head + tail for head in heads for tail in tails]
        names += heads
    return names


def expand_counts(text: str) -> list[int]:
    """One number for each node of a list as SLURM writes it: ``24(x2),16`` has 24, 24 and 16."""
    counts = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part.strip())
        if match is None:
            raise AllocationError(f"{text!r} must be a list of counts such as 24(x2),16")
        counts += [int(match[1])] * int(match[2] or 1)
    return counts


def _range(text: str) -> list[str]:
    first, dash, last = text.partition("-")
    if not dash:
        return [first]
    return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]


def _cpus(environment: Mapping[str, str], in_step: bool, node_id: int) -> int | None:
    """CPUs that SLURM granted this process on this node."""
    if in_step and (own := _number(environment.get("SLURM_CPUS_PER_TASK"))):
        return own
    if here := environment.get("SLURM_CPUS_ON_NODE"):
        return expand_counts(here)[0]
    if listed := environment.get("SLURM_JOB_CPUS_PER_NODE"):
        counts = expand_counts(listed)
        return counts[min(node_id, len(counts) - 1)]
    return None


def node_name(environment: Mapping[str, str] = os.environ) -> str:
    """SLURM's name for this node; the machine's own outside of SLURM."""
    return environment.get("SLURMD_NODENAME") or socket.gethostname()


def gpus_granted(environment: Mapping[str, str] = os.environ) -> int | None:
    """GPUs that SLURM granted on this node, by number, UUID or MIG slice; None outside of SLURM."""
    if not environment.get("SLURM_JOB_ID"):
        return None
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return 0 if visible.strip() in NO_GPUS else len(visible.split(","))
    return _number(environment.get("SLURM_GPUS_ON_NODE")) or 0


def _memory(environment: Mapping[str, str], cpus: int) -> int | None:
    """Bytes that SLURM granted on this node."""
    if per_node := _number(environment.get("SLURM_MEM_PER_NODE")):
        return per_node * 2**20
    if per_cpu := _number(environment.get("SLURM_MEM_PER_CPU")):
        return per_cpu * cpus * 2**20
    if per_gpu := _number(environment.get("SLURM_MEM_PER_GPU")):
        return per_gpu * (gpus_granted(environment) or 0) * 2**20 or None
    return None


def _hint(environment: Mapping[str, str], usable: int, granted: int | None) -> str | None:
    on_node = _number(environment.get("SLURM_CPUS_ON_NODE"))
    have = min(usable, granted or usable)
    if on_node is None or have >= min(on_node, os.cpu_count() or on_node):
        return None
    return (
        f"SLURM granted {on_node} CPUs on this node, and this process may use {have} of them; "
        f"srun --cpus-per-task={on_node} would give it all"
    )


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None
