"""Where everything of one private SLURM lies: below one folder, and nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from loopback.errors import LoopbackError

LONGEST_FOLDER = 64
"""In characters: SLURM puts Unix sockets below the folder, whose paths must stay below 108."""

PLAIN = re.compile(r"[A-Za-z0-9/._+-]+")


@dataclass(frozen=True)
class Layout:
    """The paths below the folder of one private SLURM."""

    folder: Path

    @property
    def slurm_conf(self) -> Path:
        """What SLURM_CONF names; SLURM finds its other configuration files beside it."""
        return self.folder / "slurm.conf"

    @property
    def gres_conf(self) -> Path:
        """Which files stand for the GPUs."""
        return self.folder / "gres.conf"

    @property
    def slurmdbd_conf(self) -> Path:
        """The accounting daemon's configuration; SLURM insists on mode 600."""
        return self.folder / "slurmdbd.conf"

    @property
    def state(self) -> Path:
        """What runs, for whoever takes it down."""
        return self.folder / "state.json"

    @property
    def munge(self) -> Path:
        """Key, socket, seed and lock of the private munged."""
        return self.folder / "munge"

    @property
    def munge_socket(self) -> Path:
        """Where daemons and clients reach the private munged."""
        return self.munge / "socket"

    @property
    def controller(self) -> Path:
        """The controller's saved state."""
        return self.folder / "controller"

    @property
    def spool(self) -> Path:
        """A folder a node: the job scripts and the sockets of its steps."""
        return self.folder / "spool"

    @property
    def devices(self) -> Path:
        """A folder a node: the files that stand for its GPUs."""
        return self.folder / "devices"

    @property
    def log(self) -> Path:
        """What the daemons log and print."""
        return self.folder / "log"

    @property
    def database(self) -> Path:
        """Data and socket of the private MariaDB."""
        return self.folder / "database"

    @property
    def database_socket(self) -> Path:
        """Where slurmdbd reaches the private MariaDB, which has no port."""
        return self.database / "socket"

    def made(self) -> list[Path]:
        """Everything that `up` makes and `down` removes, the state last."""
        return [
            self.slurm_conf, self.gres_conf, self.slurmdbd_conf, self.munge, self.controller,
            self.spool, self.devices, self.log, self.database, self.state,
        ]  # fmt: skip


def checked_layout(folder: Path) -> Layout:
    """The layout below a folder, or a LoopbackError that says why SLURM cannot live there."""
    absolute = folder.absolute()
    if len(str(absolute)) > LONGEST_FOLDER:
        raise LoopbackError(
            f"folder: {absolute} is longer than {LONGEST_FOLDER} characters, which leaves no room "
            "for SLURM's sockets; take a shorter one, such as /tmp/slurm"
        )
    if not PLAIN.fullmatch(str(absolute)):
        raise LoopbackError(
            f"folder: {absolute} holds a character that SLURM's configuration cannot; "
            "letters, digits and . _ + - can be used"
        )
    return Layout(absolute)
