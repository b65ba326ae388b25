"""Options of sbatch that a profile may not set by itself, and those that srun does not have."""

from __future__ import annotations

_ONE_TASK = "a job has one task on each of its nodes"
_LOGS = "a job's log is RUN/slurm/JOB/JOB_0_log.out, where eos finds it"
_BACK = "a job puts itself back into the queue, as max_timeouts and max_preemptions allow"
_RETURNS = "eos must get the job's number back at once"


def _key(name: str) -> str:
    return f"the profile has the key {name} for it"


REFUSED = {
    "array": "jobs share a run by themselves, so that each is a job of its own (--jobs)",
    "output": _LOGS,
    "error": _LOGS,
    "open-mode": _LOGS,
    "input": "jobs read no input",
    "signal": _key("stop_seconds_before_end"),
    "requeue": _BACK,
    "no-requeue": _BACK,
    "no-kill": "a job that lost a node restarts",
    "ntasks": _ONE_TASK,
    "ntasks-per-node": _ONE_TASK,
    "ntasks-per-core": _ONE_TASK,
    "ntasks-per-gpu": _ONE_TASK,
    "ntasks-per-socket": _ONE_TASK,
    "tasks-per-node": _ONE_TASK,
    "cpus-per-task": _key("cpus_per_node"),
    "cpus-per-gpu": _key("cpus_per_node"),
    "gpus": _key("gpus_per_node"),
    "gpus-per-node": _key("gpus_per_node"),
    "gpus-per-socket": _key("gpus_per_node"),
    "gpus-per-task": "it would give each process other GPUs; " + _key("gpus_per_node"),
    "mem": _key("memory_per_node"),
    "mem-per-cpu": _key("memory_per_node"),
    "mem-per-gpu": _key("memory_per_node"),
    "partition": _key("partition"),
    "account": _key("account"),
    "qos": _key("qos"),
    "nodes": _key("nodes"),
    "time": _key("time"),
    "constraint": _key("constraint"),
    "exclude": _key("exclude"),
    "nodelist": _key("nodelist"),
    "nodefile": _key("nodelist"),
    "reservation": _key("reservation"),
    "cluster": _key("clusters"),
    "clusters": _key("clusters"),
    "job-name": "eos finds a run's jobs by their name",
    "wrap": "the job's script is written by eos",
    "test-only": "eos launch --dry-run shows what would be submitted",
    "parsable": _RETURNS,
    "quiet": _RETURNS,
    "wait": _RETURNS,
}
"""Why each must be left out of a profile's ``extra``."""

NOT_OF_SRUN = {
    "begin", "dependency", "deadline", "export-file", "get-user-env", "hold", "ignore-pbs",
    "mail-type", "mail-user", "time-min",
}  # fmt: skip
"""What the check of the nodes leaves out: srun does not know it, or would wait for it."""
