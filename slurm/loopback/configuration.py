"""The configuration files of a private SLURM, as text: pure functions of its shape and ports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from loopback.layout import Layout

CLUSTER = "loopback"

PARTITION_SETTINGS = ("GraceTime", "DefaultTime", "MaxTime")
"""Settings that belong to a partition rather than to the cluster; they are given to `main`."""


@dataclass(frozen=True)
class Shape:
    """What the private SLURM pretends to be; memory in MiB, all numbers but `nodes` per node."""

    nodes: int
    gpus: int
    cpus: int
    memory_mib: int
    accounting: bool
    settings: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def node_names(self) -> tuple[str, ...]:
        """n1, n2, ..."""
        return tuple(f"n{number}" for number in range(1, self.nodes + 1))

    @property
    def cluster_name(self) -> str:
        """The name that accounting and `--clusters` know."""
        return str(self.settings.get("ClusterName", CLUSTER))


@dataclass(frozen=True)
class Ports:
    """The TCP ports of the daemons; `accounting` is unused without accounting."""

    controller: int
    accounting: int
    nodes: tuple[int, ...]


def slurm_conf(layout: Layout, shape: Shape, ports: Ports, hostname: str) -> str:
    """The text of slurm.conf, for controller, nodes and clients alike."""
    settings = {**_settings(layout, shape, ports, hostname), **_accounting(layout, shape, ports)}
    # The steps of a preempted job get SIGTERM at once, its batch script when the grace is over; but
    # slurmctld looks every 30 s only whether it is.
    partition = {"GraceTime": 20, "DefaultTime": "1:00:00", "MaxTime": "1-00:00:00"}
    for name, value in shape.settings.items():
        (partition if name in PARTITION_SETTINGS else settings)[name] = value
    lines = [f"{name}={value}" for name, value in settings.items()]
    lines += _nodes(shape, ports, hostname)
    times = f"DefaultTime={partition['DefaultTime']} MaxTime={partition['MaxTime']}"
    lines += [
        f"PartitionName=main Nodes=ALL Default=YES PriorityTier=1 "
        f"GraceTime={partition['GraceTime']} {times} State=UP",
        f"PartitionName=urgent Nodes=ALL PriorityTier=10 PreemptMode=OFF {times} State=UP",
    ]
    return "\n".join(lines) + "\n"


def gres_conf(layout: Layout, shape: Shape) -> str:
    """The text of gres.conf: each GPU is a file, for a bare count leaves the node invalid."""
    if not shape.gpus:
        return ""
    return "".join(
        f"NodeName={node} Name=gpu File={layout.devices / node}/nvidia[0-{shape.gpus - 1}]\n"
        for node in shape.node_names
    )


def slurmdbd_conf(layout: Layout, ports: Ports, hostname: str) -> str:
    """The text of slurmdbd.conf; the database is reached by its socket."""
    settings: dict[str, object] = {
        "DbdHost": hostname,
        "DbdAddr": "127.0.0.1",
        "DbdPort": ports.accounting,
        "SlurmUser": "root",
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={layout.munge_socket}",
        "StorageType": "accounting_storage/mysql",
        "StorageHost": "localhost",
        "StorageUser": "root",
        "StorageLoc": "slurm",
        "LogFile": layout.log / "slurmdbd.log",
        "PidFile": layout.folder / "controller/slurmdbd.pid",
        "MessageTimeout": 30,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _settings(layout: Layout, shape: Shape, ports: Ports, hostname: str) -> dict[str, object]:
    return {
        "ClusterName": CLUSTER,
        "SlurmctldHost": f"{hostname}(127.0.0.1)",
        "SlurmctldPort": ports.controller,
        "SlurmUser": "root",
        "AuthType": "auth/munge",
        # A requeued job waits for as long as a credential lives: 120 s unless told otherwise.
        "AuthInfo": f"socket={layout.munge_socket},cred_expire=5",
        # No daemon listens beyond this host.
        "CommunicationParameters": "NoCtldInAddrAny,NoInAddrAny",
        "StateSaveLocation": layout.controller,
        "SlurmctldPidFile": layout.controller / "slurmctld.pid",
        "SlurmctldLogFile": layout.log / "slurmctld.log",
        "SlurmdSpoolDir": layout.spool / "%n",
        "SlurmdPidFile": layout.spool / "%n/slurmd.pid",
        "SlurmdLogFile": layout.log / "slurmd.%n.log",
        # Nodes may claim more than this host has, and need no control groups.
        "SlurmdParameters": "config_overrides",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "JobAcctGatherType": "jobacct_gather/linux",
        "MpiDefault": "none",
        "SwitchType": "switch/none",
        "MailProg": "/bin/true",
        **({"GresTypes": "gpu"} if shape.gpus else {}),
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core_Memory",
        "DefMemPerCPU": max(1, shape.memory_mib // shape.cpus),
        "PreemptType": "preempt/partition_prio",
        "PreemptMode": "REQUEUE",
        "PriorityType": "priority/basic",
        # Tests wait for the scheduler: let it look often.
        "SchedulerType": "sched/backfill",
        "SchedulerParameters": "batch_sched_delay=0,sched_interval=1,bf_interval=1,"
        "bf_resolution=1,bf_continue",
        "ReturnToService": 2,
        "JobRequeue": 1,
        "KillWait": 10,
        "MinJobAge": 300,
        "InactiveLimit": 0,
        # A busy host must not make its nodes look dead.
        "SlurmdTimeout": 60,
        "MessageTimeout": 30,
    }


def _accounting(layout: Layout, shape: Shape, ports: Ports) -> dict[str, object]:
    if not shape.accounting:
        return {"AccountingStorageType": "accounting_storage/none"}
    return {
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "AccountingStorageHost": "127.0.0.1",
        "AccountingStoragePort": ports.accounting,
        # With munge the "password" is the socket: connections to slurmdbd ignore AuthInfo.
        "AccountingStoragePass": layout.munge_socket,
        **({"AccountingStorageTRES": "gres/gpu"} if shape.gpus else {}),
    }


def _nodes(shape: Shape, ports: Ports, hostname: str) -> list[str]:
    gpus = f" Gres=gpu:{shape.gpus}" if shape.gpus else ""
    return [
        f"NodeName={node} NodeHostname={hostname} NodeAddr=127.0.0.1 Port={port} "
        f"CPUs={shape.cpus} Sockets=1 CoresPerSocket={shape.cpus} ThreadsPerCore=1 "
        f"RealMemory={shape.memory_mib}{gpus} State=UNKNOWN"
        for node, port in zip(shape.node_names, ports.nodes, strict=True)
    ]
