"""What is used of Ray beyond its public API, all of it: settings, and names that it may rename.

The test of this module tells by name what a later Ray no longer has. Ray reads its settings when it
is imported, so that no import of Ray is at the top here.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import MutableMapping
from typing import Any

OBJECT_STORE_BYTES = 100 * 2**20
"""Nothing but configurations and reports goes through the object store."""

STARTS = 3
"""How often Ray is started where it does not come up, as when somebody took its port."""

GCS_PATIENCE = "RAY_gcs_server_port_wait_time_s"
GCS_SECONDS = (10, 30, 90)
"""How long each start waits for the GCS to listen. Meanwhile Ray lets no other thread of the
process run, so that a GCS which died is noticed only afterwards: the first wait is short."""

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    # A newer Ray will not hide GPUs from actors that asked for none; say so now.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
    # Tune's own state is never restored: the tables are the ledger.
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "RAY_AIR_NEW_OUTPUT": "0",
    # Processes that give themselves a title keep their environment, by which they are found.
    "SPT_NOENV": "1",
    # Ray ends a process whose GCS is gone for so long. Here the run notices it within a second and
    # ends in order, which must not be cut short.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
    # Workers are started when there is work; Ray would start an idle process for each CPU.
    "RAY_prestart_worker_first_driver": "0",
    # Trials know what memory they were granted; Ray would judge by the whole machine's.
    "RAY_memory_monitor_refresh_ms": "0",
}

SINGLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Set to 0, Ray's servers listen on the loopback interface only; no second machine can join."""

START_MODULE = "ray.scripts.scripts"
"""The module of the command ``ray``, which need not be on the PATH."""

PRIVATE_NAMES = {
    "ray._private.worker:_worker_logs_enabled": "keeping Ray's messages off standard output",
    "ray.scripts.scripts:main": "starting Ray on the nodes of a job that are not its first",
    "ray.tune.experiment:Trial.get_pickled_error": "telling why the process of a trial died",
}
"""The names of Ray that are used and not promised, and for what."""

INIT_OPTIONS = ("_memory", "_node_ip_address", "_temp_dir")
"""Options of ``ray.init`` that are used and may change: memory, address and folder of a cluster."""


def settle(*, alone: bool, token: str | None = None) -> str:
    """Make Ray's settings in this process and for those that it starts; returns the token.

    Args:
        alone: whether this machine is the only one of the cluster.
        token: the cluster's token; a fresh one unless given. Ray reads it once in a process's life,
            so that later clusters of this process have the first one's.

    Raises:
        RuntimeError: Ray was imported without token authentication before.
    """
    if "ray" in sys.modules and os.environ.get("RAY_AUTH_MODE") != "token":
        raise RuntimeError(
            "Ray was imported before this run without token authentication, which it reads "
            "only once; start the run in a fresh process"
        )
    os.environ.update(SETTINGS, **{SINGLE: "0" if alone else "1"})
    if token is not None:
        os.environ["RAY_AUTH_TOKEN"] = token
    return os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def print_messages(enabled: bool) -> None:
    """Whether Ray prints deaths of workers on stdout, where our data goes: it has no setting."""
    import ray

    ray._private.worker._worker_logs_enabled = enabled


def mlflow_runs(callback: Any) -> MutableMapping[Any, str] | None:
    """The names that MLflow gave the runs of Tune's trials; None for callbacks of other services.

    With them, a trial that is resumed goes on in its own run.
    """
    runs: MutableMapping[Any, str] | None = getattr(callback, "_trial_runs", None)
    return runs
