"""The wheel without a clone: the command, the sweep files that come with it, a plan."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "eos_sweep.py", "jobs", "orchestrator")
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
START = "import eos_sweep, sys; sys.argv = ['eos', *sys.argv[1:]]; eos_sweep.main()"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pip would put into site-packages."""
    folder = tmp_path_factory.mktemp("wheel")
    source, built = folder / "source", folder / "built"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / name, source / name)
    subprocess.run(
        [sys.executable, "-c", BUILD, built], cwd=source, check=True, capture_output=True
    )
    (wheel,) = built.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    shutil.rmtree(source)
    return folder / "site"


@pytest.mark.slow
def test_the_first_commands_need_no_clone(installed: Path, tmp_path: Path) -> None:
    def eos(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", START, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(installed)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "Example: eos quickstart" in eos("quickstart", "--help")
    quickstart = installed / "orchestrator" / "sweep_files" / "quickstart.yaml"
    assert "1 columns, 17 trials: 0 settled" in eos("plan", str(quickstart))
    assert "plan mine.yaml" in eos("init", "mine.yaml")
    assert "18 trials: 0 settled, 18 to do" in eos("plan", "mine.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]
