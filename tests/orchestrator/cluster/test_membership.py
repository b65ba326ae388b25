"""The membership: who proves that it knows the token is in it, and who breaks off is missed."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.waiting import wait_for

from orchestrator.cluster import membership as memberships
from orchestrator.cluster.membership import Membership, ProofError, join

TOKEN = "t" * 64


@contextmanager
def a_membership(*expected: int) -> Iterator[tuple[Membership, list[tuple[int, str]]]]:
    losses: list[tuple[int, str]] = []
    membership = Membership("127.0.0.1", TOKEN, expected, lambda *loss: losses.append(loss))
    try:
        yield membership, losses
    finally:
        membership.end(1)


def test_a_node_joins_and_is_told_that_it_is_over() -> None:
    with a_membership(1) as (membership, losses):
        line = join(membership.address, TOKEN, 1, 10)
        line.send(joined=True)
        wait_for(lambda: membership.joined == {1}, 10)
        told: list[object] = []

        def listen() -> None:
            told.append(line.receive())
            line.close()

        listener = threading.Thread(target=listen)
        listener.start()
        assert membership.end(10) == set()
        listener.join(10)
        assert told == [{"over": True}]
        assert losses == []


def test_a_node_that_breaks_off_is_missed_at_once() -> None:
    with a_membership(1, 2) as (membership, losses):
        lines = [join(membership.address, TOKEN, number, 10) for number in (1, 2)]
        for line in lines:
            line.send(joined=True)
        wait_for(lambda: membership.joined == {1, 2}, 10)
        lines[0].close()
        wait_for(lambda: losses, 10)
        assert membership.troubles == {1: "its connection broke"}


def test_a_node_says_what_befell_it() -> None:
    with a_membership(1) as (membership, losses):
        line = join(membership.address, TOKEN, 1, 10)
        line.send(joined=True)
        line.send(trouble="its disk is full")
        wait_for(lambda: losses == [(1, "its disk is full")], 10)


def test_a_stranger_is_not_let_in() -> None:
    with a_membership(1) as (membership, losses):
        with pytest.raises(ProofError, match="does not know this cluster's token"):
            join(membership.address, "w" * 64, 1, 10)
        assert membership.joined == set()
        assert losses == []


def test_a_node_of_a_number_that_is_not_expected_is_not_let_in() -> None:
    with a_membership(1) as (membership, _), pytest.raises(ProofError):
        join(membership.address, TOKEN, 7, 10)


def test_a_node_does_not_take_a_stranger_for_its_head() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def pretend() -> None:
            connection, _ = server.accept()
            with connection, connection.makefile("rwb") as file:
                file.write(b'{"nonce": "0"}\n')
                file.flush()
                file.readline()
                file.write(json.dumps({"proof": "0" * 64}).encode() + b"\n")
                file.flush()

        threading.Thread(target=pretend, daemon=True).start()
        with pytest.raises(ProofError):
            join(server.getsockname()[:2], TOKEN, 1, 10)


def test_strangers_who_say_nothing_or_nonsense_keep_nobody_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memberships, "PROOF_SECONDS", 2.0)
    with a_membership(1) as (membership, _):
        silent = [socket.create_connection(membership.address) for _ in range(20)]
        silent[0].sendall(b"\xff\x00 nonsense\n" * 100)
        silent[1].sendall(b'{"node": 1, "nonce": [], "proof": {}}\n')
        silent[2].sendall(b"x" * 200_000)
        line = join(membership.address, TOKEN, 1, 10)
        line.send(joined=True)
        wait_for(lambda: membership.joined == {1}, 10)
        for connection in silent:
            connection.close()
