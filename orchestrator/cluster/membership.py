"""The membership that the head keeps: which nodes have joined, which were lost, and the end.

One connection for each node, on which both sides first prove that they know the cluster's token,
which itself is never sent. A connection that breaks says at once that the other side is gone.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

from orchestrator.cluster.processes import shielded

PROOF_SECONDS = 10.0
"""How long a stranger may hold a connection without proving anything."""

LONGEST_LINE = 65_536


class ProofError(ConnectionError):
    """The other side does not know the token."""


class Connection:
    """A connection on which JSON objects go to and fro, each in a line."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._reader = connection.makefile("rb")
        self._writing = threading.Lock()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

    def send(self, **content: Any) -> None:
        """Send an object; a broken connection is not an error here, it shows on reading."""
        with self._writing, contextlib.suppress(OSError):
            self._socket.sendall(json.dumps(content).encode() + b"\n")

    def receive(self, seconds: float | None = None) -> dict[str, Any] | None:
        """The next object; None when the other side is gone.

        Raises:
            TimeoutError: nothing came within ``seconds``.
        """
        self._socket.settimeout(seconds)
        try:
            line = self._reader.readline(LONGEST_LINE)
            content = json.loads(line) if line.endswith(b"\n") else None
        except TimeoutError:
            raise
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def join(address: tuple[str, int], token: str, node_id: int, seconds: float) -> Connection:
    """Connect a node to the head's membership.

    Raises:
        OSError: the head cannot be reached.
        ProofError: it is not our head.
    """
    line = Connection(socket.create_connection(address, timeout=seconds))
    try:
        mine, greeting = secrets.token_hex(16), line.receive(PROOF_SECONDS) or {}
        line.send(
            node=node_id,
            nonce=mine,
            proof=_proof(token, "node", str(greeting.get("nonce")), mine, str(node_id)),
        )
        answer = line.receive(PROOF_SECONDS) or {}
        if not hmac.compare_digest(str(answer.get("proof")), _proof(token, "head", mine)):
            raise ProofError(f"{address[0]}:{address[1]} does not know this cluster's token")
    except BaseException:
        line.close()
        raise
    return line


class Membership:
    """The head's side. ``expected`` are the numbers of the other nodes.

    ``on_loss`` is called, from a thread of its own, with the number of a node that had joined and
    what befell it.
    """

    def __init__(
        self, address: str, token: str, expected: Sequence[int], on_loss: Callable[[int, str], None]
    ) -> None:
        self._token, self._expected, self._on_loss = token, set(expected), on_loss
        self._lines: dict[int, Connection] = {}
        self._changed = threading.Condition()
        self._over = False
        self.joined: set[int] = set()
        self.troubles: dict[int, str] = {}
        self._listener = socket.create_server((address, 0))
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        with shielded():
            threading.Thread(target=self._accept, name="membership", daemon=True).start()

    def end(self, seconds: float) -> set[int]:
        """Tell every node that it is over and wait until they are gone; returns those that stay."""
        self._over = True
        with self._changed:
            for line in self._lines.values():
                line.send(over=True)
            self._changed.wait_for(lambda: not self._lines, seconds)
            stay = set(self._lines)
        self._listener.close()
        for line in list(self._lines.values()):
            line.close()
        return stay

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        line = Connection(connection)
        node_id = self._proven(line)
        if node_id is None:
            line.close()
            return
        with self._changed:
            self._lines[node_id] = line
        gone = "its connection broke"
        while (message := line.receive()) is not None:
            if message.get("joined"):
                with self._changed:
                    self.joined.add(node_id)
                    self._changed.notify_all()
            if "trouble" in message:
                gone = str(message["trouble"])
                self._note(node_id, gone)
        self._note(node_id, gone)
        line.close()
        with self._changed:
            self._lines.pop(node_id, None)
            self._changed.notify_all()

    def _proven(self, line: Connection) -> int | None:
        """The number of the node at the other end, once it has proved to be one."""
        nonce = secrets.token_hex(16)
        line.send(nonce=nonce)
        try:
            answer = line.receive(PROOF_SECONDS) or {}
        except TimeoutError:
            return None
        node_id, theirs = answer.get("node"), str(answer.get("nonce"))
        proof = _proof(self._token, "node", nonce, theirs, str(node_id))
        if node_id not in self._expected or not hmac.compare_digest(
            str(answer.get("proof")), proof
        ):
            return None
        line.send(proof=_proof(self._token, "head", theirs))
        return int(node_id)

    def _note(self, node_id: int, trouble: str) -> None:
        with self._changed:
            if self._over or node_id in self.troubles:
                return
            self.troubles[node_id] = trouble
            joined = node_id in self.joined
            self._changed.notify_all()
        if joined:
            self._on_loss(node_id, trouble)

    def wait(self, seconds: float) -> None:
        """Wait for news, at most so long."""
        with self._changed:
            self._changed.wait(seconds)


def _proof(token: str, *parts: str) -> str:
    return hmac.new(token.encode(), "\n".join(parts).encode(), hashlib.sha256).hexdigest()
