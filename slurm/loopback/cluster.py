"""A private SLURM on this host: brought up, driven, damaged and taken down."""

from __future__ import annotations

import os
import pwd
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from loopback.accounting import prepare_database, start_database, start_slurmdbd
from loopback.configuration import Shape
from loopback.daemons import Daemons, read_state, start_munged
from loopback.errors import LoopbackError
from loopback.files import clear, lay_out
from loopback.layout import Layout, checked_layout
from loopback.processes import Process, descendants, end, kill_trees, until
from loopback.programs import missing, program

KEEPER = Path(__file__).with_name("keeper.py")

IDLE = "idle"

INHERITED = ("SLURM_", "SBATCH_", "SALLOC_", "SRUN_", "SQUEUE_", "SACCT_", "SINFO_", "SCANCEL_")
"""Beginnings of variables by which another SLURM would change what a command does."""


@dataclass(frozen=True)
class Loopback:
    """A SLURM with `nodes` pretended nodes on this host, all of it below `folder`.

    Each node has `cpus`, `gpus` and `memory_mib`, whatever the host has. The partition `main` is
    the usual one; jobs of `urgent` take its place by putting its jobs back into the queue. With
    `accounting` there is a slurmdbd, so that `sacct` answers. `settings` are lines of slurm.conf
    that replace or add to the usual ones (GraceTime, DefaultTime, MaxTime: of partition `main`).

    >>> cluster = Loopback(Path("/tmp/slurm"), nodes=3)   # doctest: +SKIP
    >>> cluster.up()                                      # doctest: +SKIP
    >>> cluster.command("sbatch", "--wrap", "hostname")   # doctest: +SKIP
    'Submitted batch job 1\\n'
    >>> cluster.down()                                    # doctest: +SKIP
    """

    folder: Path
    nodes: int = 2
    gpus: int = 2
    cpus: int = 4
    memory_mib: int = 8000
    accounting: bool = False
    settings: Mapping[str, str | int] = field(default_factory=dict)

    @classmethod
    def found(cls, folder: Path) -> Loopback | None:
        """The private SLURM that was brought up in a folder, or None."""
        shape = read_state(Layout(folder.absolute())).get("shape")
        return None if shape is None else cls(folder, **shape)

    @property
    def shape(self) -> Shape:
        """Everything but the folder."""
        return Shape(
            self.nodes, self.gpus, self.cpus, self.memory_mib, self.accounting, self.settings
        )

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to use this SLURM and no other."""
        return {"SLURM_CONF": str(self._layout.slurm_conf)}

    def up(self, timeout: float = 60) -> None:
        """Bring it up and return when every node is idle, within `timeout` seconds.

        What a crash left in the folder is removed first. Raises LoopbackError, having taken down
        what had been started, if anything is missing, running already or does not start.
        """
        if (why := missing(self.accounting)) is not None:
            raise LoopbackError(why)
        for name, least in {"nodes": 1, "gpus": 0, "cpus": 1, "memory_mib": 1}.items():
            if getattr(self, name) < least:
                raise LoopbackError(f"{name}: {getattr(self, name)} is less than {least}")
        layout = checked_layout(self.folder)
        if any(self.daemons().values()):
            raise LoopbackError(f"folder: a SLURM runs in {layout.folder} already; take it down")
        self.down()
        if strange := [path.name for path in layout.made() if path.exists()]:
            raise LoopbackError(
                f"folder: {layout.folder} holds {', '.join(strange)} of somebody else; "
                "take another one"
            )
        try:
            lay_out(layout, self.shape)
            self._start_all(until(timeout))
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """End all daemons, jobs and what they started, and remove what `up` made.

        Does nothing where nothing is up. Only processes that are still those that were started
        are touched, and only files that were made.
        """
        layout = self._layout
        if not read_state(layout):
            return
        daemons = [one for found in self.daemons().values() for one in found]
        kill_trees(daemons)
        for daemon in daemons:
            end(daemon, first=signal.SIGKILL)
        clear(layout)

    def command(
        self, *argv: str, timeout: float = 30, check: bool = True, user: str | None = None
    ) -> str:
        """Run a program against this SLURM, as another user if one is named; return its output.

        Raises LoopbackError with what it said if it fails, unless `check` is off, or if it takes
        longer than `timeout` seconds.
        """
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(INHERITED)
        } | self.environment
        run_as: dict[str, object] = {}
        if user is not None:
            account = _account(user)
            run_as = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            environment |= {"USER": user, "LOGNAME": user, "HOME": account.pw_dir}
        try:
            ended = subprocess.run(
                [program(argv[0]), *argv[1:]], env=environment, capture_output=True, text=True,
                timeout=timeout, check=False, stdin=subprocess.DEVNULL, **run_as,
            )  # type: ignore[call-overload]  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise LoopbackError(f"{' '.join(argv)}: no answer within {timeout:g} s") from error
        if check and ended.returncode != 0:
            said = (ended.stderr or ended.stdout).strip()
            raise LoopbackError(f"{' '.join(argv)}: status {ended.returncode}: {said}")
        return str(ended.stdout)

    def kill_slurmd(self, node: str) -> None:
        """Kill a node's slurmd; its jobs run on, and SLURM no longer hears of them."""
        for process in self._processes(node, name="slurmd"):
            end(process, first=signal.SIGKILL)

    def kill_node(self, node: str) -> None:
        """Kill all that runs on a node at one instant, as if its machine had lost its power.

        SLURM notices after SlurmdTimeout; `mark_down` tells it at once.
        """
        kill_trees(self._keepers(node))

    def mark_down(self, node: str) -> None:
        """Tell SLURM that a node is lost; its jobs go back into the queue."""
        self.command("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=lost")

    def start_slurmd(self, node: str, timeout: float = 60) -> None:
        """Start a node's slurmd again and return when SLURM may use the node.

        A node that was down comes back by itself (ReturnToService), once its slurmd has registered.
        """
        if self._processes(node, name="slurmd"):
            raise LoopbackError(f"node: the slurmd of {node} runs already")
        waiting, before = until(timeout), int(time.time())
        self._start_node(node)
        while self._registered(node) < before or (state := self._states()[node])[-1] == "*":
            if not waiting():
                raise LoopbackError(f"node: {node} has not come back after {timeout:g} s")
        if state == "down":
            raise LoopbackError(f"node: {node} is down; scontrol show node {node} says why")

    def stop_controller(self) -> None:
        """Stop slurmctld in an orderly way; jobs run on, commands find nobody."""
        self._daemons.stop("slurmctld")

    def start_controller(self, timeout: float = 60) -> None:
        """Start slurmctld again from its saved state and return when it answers."""
        self._start_controller(until(timeout))

    def stop_accounting(self) -> None:
        """Stop slurmdbd; `sacct` finds nobody, slurmctld keeps what it has to tell."""
        self._daemons.stop("slurmdbd")

    def start_accounting(self, timeout: float = 60) -> None:
        """Start slurmdbd again and return when it answers."""
        if not self.accounting:
            raise LoopbackError("accounting: this SLURM was brought up without")
        start_slurmdbd(self._daemons, self._accounting_answers, until(timeout))

    def wait_idle(self, timeout: float = 60) -> None:
        """Return when no job is pending or running and every node is idle."""
        waiting = until(timeout)
        while True:
            jobs = self.command("squeue", "--noheader", "--format=%i %T").splitlines()
            states = self._states()
            if not jobs and set(states.values()) == {IDLE}:
                return
            if not waiting():
                raise LoopbackError(f"not idle after {timeout:g} s: jobs {jobs}, nodes {states}")

    def daemons(self) -> dict[str, list[Process]]:
        """The processes of each daemon that still run; a node's are those that keep its slurmd."""
        return {name: self._daemons.living(name) for name in self._daemons.names()}

    @property
    def _layout(self) -> Layout:
        return Layout(self.folder.absolute())

    @property
    def _daemons(self) -> Daemons:
        return Daemons(self._layout)

    def _keepers(self, node: str) -> list[Process]:
        if node not in self.shape.node_names:
            raise LoopbackError(f"node: {node} is none of {', '.join(self.shape.node_names)}")
        return self._daemons.living(node)

    def _processes(self, node: str, name: str) -> list[Process]:
        return descendants(self._keepers(node), name)

    def _states(self) -> dict[str, str]:
        """Each node's state in sinfo's words; a star at the end: it does not answer."""
        listed = self.command("sinfo", "--noheader", "--Node", "--format=%N %t", "-p", "main")
        words = (line.partition(" ") for line in listed.splitlines())
        return {node: state for node, _, state in words}

    def _registered(self, node: str) -> float:
        """When the slurmd that SLURM last heard of was started, in seconds since the epoch."""
        shown = self.command("scontrol", "--oneliner", "show", "node", node)
        found = re.search(r"SlurmdStartTime=(\d\S+)", shown)
        return datetime.fromisoformat(found[1]).timestamp() if found else 0.0

    def _start_all(self, waiting: Callable[[], bool]) -> None:
        daemons = self._daemons
        start_munged(daemons, waiting)
        if self.accounting:
            prepare_database(daemons)
            start_database(daemons, waiting)
            start_slurmdbd(daemons, self._accounting_answers, waiting)
            self.command("sacctmgr", "-i", "add", "cluster", self.shape.cluster_name)
        self._start_controller(waiting)
        for node in self.shape.node_names:
            self._start_node(node)
        for node in self.shape.node_names:
            daemons.expect(node, lambda node=node: self._states()[node] == IDLE, waiting)  # type: ignore[misc]

    def _start_controller(self, waiting: Callable[[], bool]) -> None:
        if self._daemons.living("slurmctld"):
            raise LoopbackError("slurmctld: it runs already")
        conf = str(self._layout.slurm_conf)
        self._daemons.start("slurmctld", [program("slurmctld"), "-D", "-f", conf])
        self._daemons.expect("slurmctld", self._controller_answers, waiting)

    def _start_node(self, node: str) -> None:
        conf = str(self._layout.slurm_conf)
        slurmd = [program("slurmd"), "-D", "-N", node, "-f", conf]
        self._daemons.start(node, [sys.executable, "-I", "-S", str(KEEPER), *slurmd])

    def _controller_answers(self) -> bool:
        return "is UP" in self.command("scontrol", "ping", check=False)

    def _accounting_answers(self) -> bool:
        listed = self.command("sacctmgr", "--noheader", "list", "user", "root", check=False)
        return "root" in listed


def _account(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        raise LoopbackError(f"user: {user} does not exist on this host") from None
