"""Where the processes of a trial listen for one another: on the interface of one address only.

Left alone, torch's store listens on all interfaces, and gloo and NCCL on one that they choose.
"""

from __future__ import annotations

import array
import errno
import fcntl
import ipaddress
import os
import socket
import struct
from pathlib import Path

from torch.distributed import TCPStore  # type: ignore[attr-defined]

LOOPBACK = "127.0.0.1"
"""Where processes of one machine find each other, and nobody from outside finds them."""

SIOCGIFCONF = 0x8912
"""The request to the kernel that lists names and IPv4 addresses of interfaces."""

ENTRY = struct.Struct("16s4x4s16x")
"""One of its answers: name, then a socket address of family, port, IPv4 address and padding."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressError(ValueError):
    """An address that this machine does not have."""


def open_store(address: str) -> TCPStore:
    """A new store that listens on this address only, on a port that the system chose.

    Raises:
        AddressError: this machine does not have the address.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        # No one else can take the port between choosing and using it: it is bound already.
        listener.bind((address, 0))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise _foreign(address) from error
        raise
    port = listener.getsockname()[1]
    return TCPStore(
        address,
        port,
        is_master=True,
        wait_for_workers=False,
        master_listen_fd=listener.detach(),  # the store closes it
    )


def listen_on(address: str) -> None:
    """Have gloo and NCCL listen in this process on the interface of this address only.

    What the user has set is left as it is. NCCL reads its settings when it first communicates, so
    they stay in the environment.

    Raises:
        AddressError: this machine does not have the address.
    """
    name = interface_of(address)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
    # Without the sign of equality, NCCL takes every interface whose name begins so.
    os.environ.setdefault("NCCL_SOCKET_IFNAME", f"={name}")
    # NCCL's monitoring answers on a port of its own whoever asks, and here nobody does.
    os.environ.setdefault("NCCL_RAS_ENABLE", "0")


def interface_of(address: str) -> str:
    """The name of the network interface that has this address.

    Raises:
        AddressError: this machine does not have the address.
    """
    wanted, interfaces = ipaddress.ip_address(address), {**_version_4(), **_version_6()}
    if wanted.version == 4 and wanted.is_loopback:
        wanted = ipaddress.ip_address(LOOPBACK)  # which stands for all of 127.0.0.0/8
    if wanted not in interfaces:
        raise _foreign(address)
    return interfaces[wanted]


def _version_4() -> dict[Address, str]:
    room = 64
    while True:
        entries = array.array("B", bytes(room * ENTRY.size))
        place, length = entries.buffer_info()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            answer = fcntl.ioctl(any_socket, SIOCGIFCONF, struct.pack("iP", length, place))
        used = struct.unpack("iP", answer)[0]
        if used < length:
            break
        room *= 2  # the kernel fills what it is given and does not say what is missing
    return {
        ipaddress.IPv4Address(packed): name.split(b"\0")[0].decode()
        for name, packed in ENTRY.iter_unpack(entries.tobytes()[:used])
    }


def _version_6() -> dict[Address, str]:
    table = Path("/proc/net/if_inet6")
    lines = table.read_text().splitlines() if table.exists() else []
    return {
        ipaddress.IPv6Address(bytes.fromhex(line.split()[0])): line.split()[-1] for line in lines
    }


def _foreign(address: str) -> AddressError:
    return AddressError(
        f"the address for the processes of a trial is {address}; it must be one of this machine's"
    )
