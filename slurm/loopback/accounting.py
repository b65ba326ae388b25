"""The accounting of a private SLURM: a MariaDB that only a socket reaches, and slurmdbd on it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from loopback.daemons import Daemons
from loopback.errors import LoopbackError
from loopback.programs import program

BUFFER_POOL = "--innodb-buffer-pool-size=16M"


def prepare_database(daemons: Daemons) -> None:
    """Make the data folder of the private MariaDB, unless it is there."""
    folder = daemons.layout.database
    if (folder / "data").exists():
        return
    folder.mkdir(mode=0o700)
    try:
        subprocess.run(
            [
                program("mariadb-install-db"), "--no-defaults", "--user=root",
                f"--datadir={folder / 'data'}", "--auth-root-authentication-method=socket",
                "--skip-test-db", BUFFER_POOL,
            ],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
    except subprocess.SubprocessError as error:
        raise LoopbackError(f"mariadb-install-db: {error}") from error


def start_database(daemons: Daemons, waiting: Callable[[], bool]) -> None:
    """Start the private MariaDB: without a port, small, and careless of power failures."""
    folder = daemons.layout.database
    daemons.start(
        "mariadbd",
        [
            program("mariadbd"), "--no-defaults", "--user=root", "--skip-networking",
            f"--datadir={folder / 'data'}", f"--socket={daemons.layout.database_socket}",
            f"--pid-file={folder / 'pid'}", BUFFER_POOL, "--innodb-log-file-size=8M",
            "--innodb-flush-log-at-trx-commit=0", "--innodb-lock-wait-timeout=900",
            "--performance-schema=OFF",
        ],
    )  # fmt: skip
    daemons.expect("mariadbd", daemons.layout.database_socket.exists, waiting)


def start_slurmdbd(
    daemons: Daemons, answers: Callable[[], bool], waiting: Callable[[], bool]
) -> None:
    """Start slurmdbd on the database and return when it answers."""
    daemons.start("slurmdbd", [program("slurmdbd"), "-D"])
    daemons.expect("slurmdbd", answers, waiting)
