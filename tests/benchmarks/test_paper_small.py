"""The page about the paper's claims is that of the tables that are kept beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "paper-small.md"
KEPT = PAGE.with_suffix("")


def test_the_page_is_what_the_kept_tables_say(tmp_path: Path) -> None:
    made = tmp_path / "page.md"
    script = ROOT / "benchmarks" / "paper_small.py"
    subprocess.run([sys.executable, script, "--page", made], check=True, timeout=300)
    assert made.read_text() == PAGE.read_text()


def test_the_kept_tables_are_small_and_name_no_machine_or_folder() -> None:
    files = sorted(KEPT.iterdir())
    assert [path.name for path in files] == [
        *("experiments.parquet", "measures.parquet", "trials.parquet")
    ]
    assert sum(path.stat().st_size for path in files) < 1_000_000
    names = {name for path in files for name in pq.read_schema(path).names}
    assert not names & {"hostname", "slurm_job_id", "git_commit", "git_dirty", "sweep"}
