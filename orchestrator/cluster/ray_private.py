"""How Ray is to behave in every process of a cluster; it reads this when it is imported."""

from __future__ import annotations

import os
import secrets
import sys

OBJECT_STORE_BYTES = 100 * 2**20
"""Nothing but configurations and reports goes through the object store."""

MEMORY_SHARE = 0.8
"""Of a machine's memory, for all trials together; the rest is for Ray and for the system."""

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
