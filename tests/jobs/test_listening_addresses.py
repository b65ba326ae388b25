"""The processes of a trial listen where they should, and strangers who connect change nothing."""

import json
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.forked import Forked
from support.listeners import listeners

from jobs.process_group import AddressError, interface_of, listen_on, open_store

PROCESSES = Path(__file__).parent / "processes"
MEETING = ("meeting", {})
SLOW = {"learning_rate": 0.02}
"""A rate with which the trial of ``processes/rank.py`` takes all its 500 steps."""


@pytest.fixture
def start(tmp_path):
    """Start a rank of two on cases of ``processes/rank.py``; all are ended with the test."""
    started = []

    def rank_of_two(number, store, *cases, timeout=20, **environment):
        given = [str(number), "2", str(store.port), str(timeout), str(tmp_path), json.dumps(cases)]
        process = Forked(PROCESSES / "rank.py", *given, folder=tmp_path, **environment)
        started.append(process)
        return process

    yield rank_of_two
    for process in started:
        process.kill()


def _places(process):
    """Where a rank listens, once it does."""
    while not (found := listeners(process.pid)):
        assert process.running
        time.sleep(0.01)
    return found


def _found(folder, number, process):
    assert process.wait(120) == 0, process.said
    return json.loads((folder / f"{number}.json").read_text())


def test_all_that_listens_is_on_the_loopback_and_garbage_sent_there_changes_no_number(
    start, tmp_path
):
    results = []
    for pestered in (False, True):
        store, at_work = open_store("127.0.0.1"), tmp_path / f"at-work-{pestered}"
        assert ("127.0.0.1", store.port) in listeners(os.getpid())
        cases = [("held", {"until": str(at_work)}), ("trial", SLOW)]
        ranks = [start(number, store, *cases, timeout=60) for number in range(2)]
        places = set.union(*map(_places, ranks))
        assert len(places) == 2
        assert {address for address, _ in places} == {"127.0.0.1"}
        if pestered:
            ports = {str(port) for _, port in places} | {str(store.port)}
            stranger = subprocess.Popen(
                [sys.executable, PROCESSES / "stranger.py", *ports],
                stdout=subprocess.PIPE,
                text=True,
            )
            while ports:
                said = stranger.stdout.readline()
                assert said
                ports.discard(said.strip())
        at_work.touch()
        results.append([_found(tmp_path, number, rank) for number, rank in enumerate(ranks)])
        if pestered:
            assert stranger.poll() is None
            stranger.kill()
            stranger.communicate()
    assert results[0] == results[1]


def test_a_process_without_the_secret_is_no_rank(start, tmp_path):
    store = open_store("127.0.0.1")
    ranks = [start(number, store, MEETING, SECRET=secret) for number, secret in enumerate("ab")]
    for number, rank in enumerate(ranks):
        assert rank.wait(120) != 0
        assert f"of its trial in the place of rank {1 - number}" in rank.said
    assert not list(tmp_path.glob("*.json"))


def test_a_stranger_who_comes_before_a_rank_gives_no_number(start, tmp_path):
    store = open_store("127.0.0.1")
    first = start(0, store, MEETING)
    ((address, port),) = _places(first)
    # Where gloo waits for a rank to connect, it takes the first that names the rank's number.
    strangers = [socket.create_connection((address, port)) for _ in range(4)]
    for number, stranger in enumerate(strangers):
        stranger.sendall(struct.pack("<q", number))
    second = start(1, store, MEETING)
    for rank in (first, second):
        assert rank.wait(120) == 0 or "RankError: rank " in rank.said
    # Which of the two ranks connects and which one waits is gloo's choice.
    assert {file.read_text() for file in tmp_path.glob("*.json")} <= {"[1.0]"}


def test_the_interface_of_an_address_is_the_one_that_has_it():
    loopback = interface_of("127.0.0.1")
    assert loopback in [name for _, name in socket.if_nameindex()]
    assert interface_of("127.0.1.1") == loopback
    for foreign in ("203.0.113.251", "2001:db8::fb"):  # for documentation: nobody has them
        with pytest.raises(AddressError, match=f"is {foreign}; it must be one of this machine's"):
            interface_of(foreign)
    with pytest.raises(AddressError, match=r"is 203\.0\.113\.251; it must be"):
        open_store("203.0.113.251")


def test_an_interface_that_the_user_chose_is_kept(monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "ib0")
    for name in ("NCCL_SOCKET_IFNAME", "NCCL_RAS_ENABLE"):
        monkeypatch.setenv(name, "to be restored")
        monkeypatch.delenv(name)
    listen_on("127.0.0.1")
    assert os.environ["GLOO_SOCKET_IFNAME"] == "ib0"
    assert os.environ["NCCL_SOCKET_IFNAME"] == f"={interface_of('127.0.0.1')}"
