"""A real SLURM for the tests, with accounting or without."""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from loopback import Loopback, missing
from support.disturbed import Tables, undisturbed
from support.launching import Place

SETTINGS = {"GraceTime": 10, "KillWait": 30}
"""Seconds that a preempted job may go on for; SLURM looks only every 30 s whether they are over."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.slurm)


@pytest.fixture(scope="session")
def short_folder() -> Iterator[Callable[[], Path]]:
    """Makes folders that every user may enter, with names short enough for SLURM's sockets."""
    made: list[Path] = []

    def make() -> Path:
        made.append(Path(tempfile.mkdtemp(prefix="eos-", dir="/tmp")))
        made[-1].chmod(0o755)
        return made[-1]

    yield make
    for folder in made:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def own_folder(short_folder: Callable[[], Path]) -> Iterator[Path]:
    """Where a test may bring up a SLURM of its own, which is taken down with the test."""
    _skip_without_programs(accounting=False)
    folder = short_folder() / "slurm"
    yield folder
    Loopback(folder).down()


@pytest.fixture(scope="session")
def cluster(short_folder: Callable[[], Path]) -> Iterator[Loopback]:
    """Two nodes with two pretended GPUs each, without accounting.

    It is shared: who runs jobs takes `idle_cluster`, which leaves it as it was. Files that need a
    slurmdbd somewhere put the one with accounting in its place.
    """
    yield from _running(Loopback(short_folder() / "slurm", settings=SETTINGS))


@pytest.fixture(scope="session")
def accounted_cluster(short_folder: Callable[[], Path]) -> Iterator[Loopback]:
    """Two nodes with two pretended GPUs each, and a slurmdbd on a MariaDB."""
    yield from _running(Loopback(short_folder() / "slurm", accounting=True, settings=SETTINGS))


@pytest.fixture
def idle_cluster(cluster: Loopback) -> Iterator[Loopback]:
    """The SLURM without accounting, with all jobs cancelled and all nodes idle afterwards."""
    yield cluster
    cluster.command("scancel", "--user=root")
    cluster.wait_idle()


@pytest.fixture
def place(idle_cluster: Loopback, short_folder: Callable[[], Path]) -> Callable[[str], Place]:
    """A place for a run of that name; its jobs are cancelled with the test."""
    return lambda name: Place(idle_cluster, folder := short_folder(), folder / name)


@pytest.fixture(scope="session")
def undisturbed_tables(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Tables]:
    """Gives the tables of the sweep whose jobs are disturbed.

    They are computed when they are first asked for, once for all processes that run tests.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    kept = shared / "undisturbed.pickle"

    def tables() -> Tables:
        with (shared / "undisturbed.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                found = undisturbed(tmp_path_factory.mktemp("undisturbed"))
                kept.write_bytes(pickle.dumps(found))
        found = pickle.loads(kept.read_bytes())
        assert isinstance(found, Tables)
        return found

    return tables


@pytest.fixture
def output(short_folder: Callable[[], Path]) -> Callable[[str], str]:
    """The path of a file for jobs of any user to write."""
    folder = short_folder()
    folder.chmod(0o777)
    return lambda name: str(folder / name)


def _running(cluster: Loopback) -> Iterator[Loopback]:
    _skip_without_programs(cluster.accounting)
    cluster.up()
    try:
        yield cluster
    finally:
        cluster.down()


def _skip_without_programs(accounting: bool) -> None:
    if (why := missing(accounting)) is not None:
        pytest.skip(why)
