"""Under which address the nodes of a run find each other."""

from __future__ import annotations

import fcntl
import socket
import struct

from orchestrator.cluster.allocation import Allocation, AllocationError

SIOCGIFADDR = 0x8915
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
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
        except OSError:
            raise AllocationError(
                f"interface is {name!r}; it must be a network interface of this node that has an "
                f"IPv4 address (here: {', '.join(interfaces())})"
            ) from None
    return socket.inet_ntoa(answer[20:24])


def interfaces() -> list[str]:
    """The names of this machine's network interfaces."""
    return [name for _, name in socket.if_nameindex()]
