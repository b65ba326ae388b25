"""What is used of Ray beyond its public API is there: a newer Ray that lacks it is named."""

from __future__ import annotations

import importlib
import inspect
from functools import cache
from pathlib import Path

import pytest
import ray

from orchestrator.cluster.ray_private import (
    GCS_PATIENCE,
    INIT_OPTIONS,
    PRIVATE_NAMES,
    SETTINGS,
    SINGLE,
)


def no_longer(what: str, use: str) -> str:
    return f"Ray {ray.__version__} no longer has {what}: used for {use}"


@pytest.mark.parametrize(("name", "use"), PRIVATE_NAMES.items())
def test_ray_still_has_the_private_name(name: str, use: str) -> None:
    module, _, path = name.partition(":")
    found = importlib.import_module(module)
    for part in path.split("."):
        assert hasattr(found, part), no_longer(name, use)
        found = getattr(found, part)


def test_ray_still_has_the_options_of_init() -> None:
    documented = inspect.getdoc(ray.init) or ""
    for option in INIT_OPTIONS:
        assert option in documented, no_longer(f"ray.init({option}=…)", "the cluster's own place")


def test_tunes_callback_for_mlflow_still_keeps_the_runs_of_trials() -> None:
    mlflow = importlib.import_module("ray.air.integrations.mlflow")
    source = inspect.getsource(mlflow.MLflowLoggerCallback)
    assert "self._trial_runs[trial] = " in source, no_longer("_trial_runs", "resumed MLflow runs")


@cache
def texts() -> tuple[bytes, ...]:
    """Ray's own files in which a setting can be read, its programs among them."""
    root = Path(ray.__file__).parent
    folders = ("_common", "_private", "air", "tune", "util")
    python = [path for folder in folders for path in (root / folder).rglob("*.py")]
    programs = [root / "_raylet.so", root / "core/src/ray/raylet/raylet"]
    return tuple(path.read_bytes() for path in (*python, *programs))


@pytest.mark.parametrize("name", [*SETTINGS, SINGLE])
def test_ray_still_reads_the_setting(name: str) -> None:
    # Its servers read RAY_name for their setting of that name.
    written = {name.encode(), name.removeprefix("RAY_").encode()}
    assert any(one in text for text in texts() for one in written), no_longer(name, "settings")


def test_ray_still_reads_how_long_its_gcs_may_take() -> None:
    if tuple(map(int, ray.__version__.split(".")[:2])) < (2, 60):
        pytest.skip("an older Ray has a wait of its own")
    assert any(GCS_PATIENCE.encode() in text for text in texts()), no_longer(GCS_PATIENCE, "starts")
