"""Ray on this machine: private to one run, in a folder of its own, gone afterwards."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.ledger.process import ProcessIdentity

OBJECT_STORE_BYTES = 100 * 2**20
"""Nothing but configurations and reports goes through the object store."""

LONGEST_ROOT = 40
"""Ray adds some 65 characters to its folder for its sockets, whose paths may have 107."""

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    # A newer Ray will not hide GPUs from actors that asked for none; say so now.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
    # Tune's own state is never restored: the tables are the ledger.
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_memory_monitor_refresh_ms": "0",
}


@dataclass(frozen=True)
class LocalCluster:
    """What a started cluster offers, and the folder that Ray and Tune may write to."""

    cpus: int
    gpus: int
    folder: Path

    @classmethod
    @contextlib.contextmanager
    def start(cls, *, quiet: bool = True) -> Iterator[LocalCluster]:
        """Start Ray with the CPUs that this process may use, and stop it at the end.

        A fresh token keeps other users of the machine out; Ray's usual places in the home
        directory and in the temporary directory are not touched.

        Raises:
            RuntimeError: Ray was imported without token authentication before.
        """
        if "ray" in sys.modules and os.environ.get("RAY_AUTH_MODE") != "token":
            raise RuntimeError(
                "Ray was imported before this run without token authentication, which it reads "
                "only once; start the run in a fresh process"
            )
        # Ray reads its settings when it is imported, and the token once in a process's life.
        os.environ.update(SETTINGS)
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        import ray

        # Ray prints deaths of workers on stdout, where our data goes, and has no setting for it.
        ray._private.worker._worker_logs_enabled = not quiet
        folder = _private_folder()
        level = logging.CRITICAL if quiet else logging.INFO
        try:
            ray.init(
                num_cpus=len(os.sched_getaffinity(0)),
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=not quiet,
                logging_level=level,
                configure_logging=True,
                _temp_dir=str(folder),
            )
            resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
            yield cls(int(resources.get("CPU", 0)), int(resources.get("GPU", 0)), folder)
        finally:
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def _private_folder() -> Path:
    """A new folder for this process only; those that dead processes left are removed."""
    parent = Path(tempfile.gettempdir())
    if len(str(parent)) > LONGEST_ROOT:
        parent = Path("/tmp")
    root = parent / f"eos-{os.getuid()}"
    root.mkdir(mode=0o700, exist_ok=True)
    if root.stat().st_uid != os.getuid():
        raise PermissionError(
            f"{root} belongs to another user; it must be yours, or TMPDIR another"
        )
    for old in root.iterdir():
        pid, _, started = old.name.partition("-")
        if pid.isdigit() and started.isdigit() and _gone(int(pid), int(started)):
            shutil.rmtree(old, ignore_errors=True)
    own = ProcessIdentity.own()
    folder = root / f"{own.pid}-{own.started}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _gone(pid: int, started: int) -> bool:
    own = ProcessIdentity.own()
    owner = ProcessIdentity(own.hostname, own.boot, own.namespace, pid, started)
    return owner.is_dead() is True
