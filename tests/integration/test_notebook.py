"""The notebook runs from its first cell to its last on the tables of a real run."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"


@pytest.fixture(scope="module")
def executed(undisturbed: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The notebook with its outputs; the file itself stays as it is."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    home = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("EOS_RUN", str(undisturbed.path))
        for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
            environment.setenv(name, str(home / name))
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            timeout=300,
            resources={"metadata": {"path": str(NOTEBOOK.parent)}},
        )
        return client.execute()


def _outputs(executed: Any) -> list[Any]:
    return [output for cell in executed.cells for output in cell.get("outputs", [])]


def test_it_says_which_critical_rate_the_tables_have(executed: Any, undisturbed: Any) -> None:
    (flow,) = [
        row
        for row in undisturbed.rows("trials")
        if row["kind"] == "flow" and row["epsilon"] == 0.05
    ]
    printed = "".join(output.get("text", "") for output in _outputs(executed))
    assert f"ε = 0.05, s_gf = {flow['s_gf']:.4g}, η_c = 2 / s_gf = {flow['eta_c']:.4g}" in printed


def test_it_draws_one_figure(executed: Any) -> None:
    pictures = [
        o["data"]["image/png"] for o in _outputs(executed) if "image/png" in o.get("data", {})
    ]
    (picture,) = pictures
    assert base64.b64decode(picture).startswith(b"\x89PNG")
    assert len(picture) > 20_000
