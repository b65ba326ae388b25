"""The processes that compute one trial together: each holds θ whole and its share of the samples.

Every rank runs the same loop. What depends on the samples is summed over the ranks; what steers the
loop besides (norms, eigenvalues) is taken from rank 0, so that all ranks take the same decisions
whatever their hardware rounds to.
"""

from __future__ import annotations

import datetime
import errno
import hmac
import importlib
import ipaddress
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch
from torch import Tensor
from torch import distributed as dist
from torch._C._distributed_c10d import Store
from torch.distributed import TCPStore  # type: ignore[attr-defined]

LOOPBACK = "127.0.0.1"
"""Where processes of one machine find each other, and nobody from outside finds them."""


class AddressError(ValueError):
    """An address that this machine does not have."""


class RankError(RuntimeError):
    """A collective that failed, because another rank is gone or did not join in time."""


class Ranks(ABC):
    """This process among those of its trial: number ``rank`` of ``size``.

    ``wants_stop`` is this rank's vote for an orderly end of the trial. Votes travel with the
    gradients; once a gradient has carried one, ``stop_agreed`` is true on every rank.
    """

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self.wants_stop = False
        self.stop_agreed = False

    def share(self, samples: int) -> slice:
        """Which of n samples are this rank's: shares are contiguous and differ by one at most."""
        each, over = divmod(samples, self.size)
        start = self.rank * each + min(self.rank, over)
        return slice(start, start + each + (self.rank < over))

    @abstractmethod
    def sum_(self, values: Tensor) -> Tensor:
        """The sum over the ranks, in place and the same everywhere; one all-reduce."""

    @abstractmethod
    def agree(self, values: Tensor) -> Tensor:
        """Rank 0's values, in place, on every rank."""


class Alone(Ranks):
    """The one process of a trial that needs no other."""

    def __init__(self) -> None:
        super().__init__(0, 1)

    def sum_(self, values: Tensor) -> Tensor:
        """The values themselves."""
        return values

    def agree(self, values: Tensor) -> Tensor:
        """The values themselves."""
        return values


class ProcessGroup(Ranks):
    """One of several processes, joined by torch.distributed: NCCL for GPUs, gloo for CPUs.

    Args:
        store: where the processes find each other; every rank gives one of the same server.
        rank: this process.
        size: the number of processes.
        address: an address of this machine that the others reach; nobody reaches another.
        secret: what the ranks of this group know and no one else does.
        timeout: seconds after which a collective that some rank does not join fails on the others.

    Its methods raise :class:`RankError` when another rank is gone. So does the constructor, and
    when the process in another rank's place does not know the secret.
    """

    def __init__(
        self, store: Store, rank: int, size: int, *, address: str, secret: bytes, timeout: float
    ) -> None:
        super().__init__(rank, size)
        listen_on(address)
        # Imported while a group exists, it keeps a reference to it, and leave() closes nothing.
        importlib.import_module("torch._dynamo")

        with self._together():
            dist.init_process_group(
                backend="cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
                store=store,
                rank=rank,
                world_size=size,
                timeout=datetime.timedelta(seconds=timeout),
            )
        self._recognize(secret)

    def sum_(self, values: Tensor) -> Tensor:
        """The sum over the ranks, by one all-reduce outside of autograd."""
        with self._together():
            dist.all_reduce(values)
        return values

    def agree(self, values: Tensor) -> Tensor:
        """Rank 0's values, by one broadcast."""
        with self._together():
            dist.broadcast(values, src=0)
        return values

    def leave(self) -> None:
        """Close the connections, so that ranks that wait for this one fail at once."""
        if dist.is_initialized():
            dist.destroy_process_group()

    def _recognize(self, secret: bytes) -> None:
        """Make sure that each other rank is one: gloo takes whoever connects first for it.

        Every rank shows each other one a proof that only that one gets, and only from this one.
        """
        others = range(self.size)
        shown = torch.stack([_proof(secret, self.rank, other) for other in others])
        expected = torch.stack([_proof(secret, other, self.rank) for other in others])
        seen = torch.empty_like(shown)
        with self._together():
            dist.all_to_all_single(seen, shown)
        strangers = (seen != expected).any(dim=1).nonzero().flatten().tolist()
        if strangers:
            self.leave()
            raise RankError(
                f"rank {self.rank} of {self.size} met a process that is not of its trial "
                f"in the place of rank {', '.join(map(str, strangers))}"
            )

    @contextmanager
    def _together(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise RankError(
                f"rank {self.rank} of {self.size} waited for another rank in vain: {error}"
            ) from error


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
    wanted = ipaddress.ip_address(address)
    if wanted.version == 4 and wanted.is_loopback:
        wanted = ipaddress.ip_address(LOOPBACK)  # which stands for all of 127.0.0.0/8
    for name, entries in psutil.net_if_addrs().items():
        # A link-local address has its interface behind it: fe80::1%eth0.
        if str(wanted) in {entry.address.partition("%")[0] for entry in entries}:
            return name
    raise _foreign(address)


def _foreign(address: str) -> AddressError:
    return AddressError(
        f"the address for the processes of a trial is {address}; it must be one of this machine's"
    )


def _proof(secret: bytes, giver: int, taker: int) -> Tensor:
    proof = hmac.digest(secret, f"rank {giver} to rank {taker}".encode(), "sha256")
    return torch.tensor(list(proof), dtype=torch.uint8)
