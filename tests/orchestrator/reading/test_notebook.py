"""The notebook in the repository has no outputs: they would be of one machine and one day."""

from __future__ import annotations

import json
from pathlib import Path

NOTEBOOK = Path(__file__).parents[3] / "examples" / "quickstart.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_cells_of_code_have_neither_outputs_nor_numbers() -> None:
    code = [cell for cell in CELLS if cell["cell_type"] == "code"]
    assert len(code) > 4
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert all(cell["metadata"] == {} for cell in CELLS)


def test_it_reads_tables_through_open_run_alone() -> None:
    text = "".join(line for cell in CELLS for line in cell["source"])
    assert "from orchestrator import open_run" in text
    assert text.count("orchestrator") == 1
