"""Where the processes of a cluster find each other: its addresses, its file, its folders."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from jobs.whole_file import temporary_name
from orchestrator.cluster.allocation import Allocation, AllocationError
from orchestrator.ledger.process import ProcessIdentity

POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Rendezvous:
    """How to reach the head: Ray's address, that of the membership, and the cluster's token.

    ``versions`` are the head's, of all that must be the same on every node.
    """

    ray: str
    membership: tuple[str, int]
    token: str
    versions: Mapping[str, str]


class NoHeadError(RuntimeError):
    """The head did not say where it is."""


def meeting_place(run: Path, allocation: Allocation) -> Path:
    """The file of this start of this step, and of nothing else."""
    return run / "slurm" / "rendezvous" / f"{allocation.key}.json"


def announce(path: Path, rendezvous: Rendezvous) -> None:
    """Write the file whole, readable by its owner only."""
    path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    temporary = temporary_name(path)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(rendezvous), file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def await_head(path: Path, seconds: float) -> Rendezvous:
    """What the head has written, as soon as it is there.

    Raises:
        NoHeadError: it is not there in time.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            content = json.loads(path.read_text())
        except FileNotFoundError:
            if time.monotonic() > end:
                raise NoHeadError(
                    f"the first node of the job did not start within {seconds:.0f} s: {path} is not"
                    " there; its log says why, unless the run directory is not shared"
                ) from None
            time.sleep(POLL_SECONDS)
            continue
        host, port = content.pop("membership")
        return Rendezvous(membership=(host, port), **content)


LOOPBACK = "127.0.0.1"


def own_address(allocation: Allocation, interface: str | None = None) -> str:
    """The IPv4 address of this node for the other nodes of its allocation.

    Loopback for a node that is alone, which nobody else need reach; that of ``interface`` if one is
    named; else what the node's own name stands for, or whence the way to another node starts.

    Raises:
        AllocationError: there is no such interface, or no address but loopback.
    """
    if len(allocation.nodes) == 1:
        return LOOPBACK
    if interface is not None:
        return interface_address(interface)
    for name in (allocation.nodes[allocation.node_id], socket.gethostname()):
        try:
            address = socket.gethostbyname(name)
        except OSError:
            continue
        if not address.startswith("127."):
            return address
    for name in allocation.nodes:
        try:
            return route_to(socket.gethostbyname(name))
        except OSError:
            continue
    names = ", ".join(interfaces())
    raise AllocationError(
        f"node {allocation.nodes[allocation.node_id]!r} has no address that the other nodes could "
        f"use; name its network interface in the cluster profile (interface: one of {names})"
    )


def route_to(address: str) -> str:
    """The own address from which packets to another one leave."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))
        return str(probe.getsockname()[0])


def interface_address(name: str) -> str:
    """The IPv4 address of a network interface.

    Raises:
        AllocationError: there is no such interface here, or it has none.
    """
    for address in psutil.net_if_addrs().get(name, ()):
        if address.family == socket.AF_INET:
            return address.address
    raise AllocationError(
        f"interface is {name!r}; it must be a network interface of this node that has an IPv4 "
        f"address (here: {', '.join(interfaces())})"
    )


def interfaces() -> list[str]:
    """The names of this machine's network interfaces."""
    return list(psutil.net_if_addrs())


LONGEST_ROOT = 40
"""Ray adds some 65 characters to its folder for its sockets, whose paths may have 107."""


def private_folder(root: Path | None = None) -> Path:
    """A new folder for this process only; those that dead processes left are removed.

    Args:
        root: where temporary folders belong; the system's place unless given.

    Raises:
        PermissionError: another user has taken our place there.
    """
    place = (root or default_root()) / f"eos-{os.getuid()}"
    place.mkdir(mode=0o700, exist_ok=True)
    if place.stat().st_uid != os.getuid() or place.is_symlink():
        raise PermissionError(
            f"{place} belongs to another user; it must be yours, or TMPDIR another"
        )
    for left in abandoned(place):
        shutil.rmtree(left, ignore_errors=True)
    own = ProcessIdentity.own()
    folder = place / f"{own.pid}-{own.started}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def default_root() -> Path:
    """The system's place for temporary folders; /tmp where its name is too long for Ray."""
    default = Path(tempfile.gettempdir())
    return default if len(os.fsencode(default)) <= LONGEST_ROOT else Path("/tmp")


def abandoned(place: Path) -> list[Path]:
    """The folders of clusters whose leading process on this machine is dead."""
    left = []
    for folder in place.iterdir():
        pid, _, started = folder.name.partition("-")
        if pid.isdigit() and started.isdigit() and _gone(int(pid), int(started)):
            left.append(folder)
    return left


def _gone(pid: int, started: int) -> bool:
    own = ProcessIdentity.own()
    owner = ProcessIdentity(own.hostname, own.boot, own.namespace, pid, started)
    return owner.is_dead() is True
