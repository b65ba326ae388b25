"""SLURM's programs as a test wants them, in front of all others."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.slurm_programs import FakeSlurm


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm(tmp_path / "slurm-programs")
    monkeypatch.setenv("PATH", str(fake.programs))
    return fake
