"""A ``jobs`` or ``orchestrator`` of somebody else, found first, is named in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import eos_sweep

START = "import eos_sweep, sys; sys.argv = ['eos', '--version']; eos_sweep.main()"


def run(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Python in a folder that comes first on its path."""
    path = os.pathsep.join([str(folder), str(Path(eos_sweep.__file__).parent)])
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("name", ["jobs/__init__.py", "jobs.py", "orchestrator.py"])
def test_the_command_names_the_file_that_is_in_the_way(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    place = (tmp_path / name.removesuffix("/__init__.py")).resolve()
    package = name.partition("/")[0].removesuffix(".py")
    done = run(tmp_path, START)
    assert done.returncode == 2
    assert done.stderr == (
        f"eos: {place} is in the way of the package {package!r} of eos-sweep, which Python finds "
        "behind it; rename it, start in another folder, or take its folder out of PYTHONPATH\n"
    )


def test_an_import_names_the_file_too(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "__init__.py").touch()
    done = run(tmp_path, "from orchestrator import open_run")
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: {tmp_path / 'jobs'} is in the way of the package 'jobs'")


def test_a_folder_that_python_ignores_does_no_harm(tmp_path: Path) -> None:
    """Without an ``__init__.py`` it is no package where a real one is found."""
    (tmp_path / "jobs").mkdir()
    done = run(tmp_path, START)
    assert (done.returncode, done.stderr) == (0, "")
