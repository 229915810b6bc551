"""The notebooks, run from the first cell to the last as Jupyter runs them."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, of_no_home

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    """Outputs change with each run, and hold places of one machine."""
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_links_of_a_notebook_lead_to_files(path: Path) -> None:
    texts = [cell["source"] for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "markdown"]
    links = re.findall(r"\]\(([^)#:]+)\)", "".join(line for text in texts for line in text))
    assert links
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_quickstart_trains_promotes_rolls_back_and_predicts(monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    for name in set(os.environ) - set(of_no_home()):
        monkeypatch.delenv(name)
    notebook = nbformat.read(ROOT / "notebooks/quickstart.ipynb", as_version=4)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT / "notebooks")}})
    client.execute()  # raises at the first cell that fails
    shown = {cell["id"]: shown_by(cell) for cell in notebook.cells if cell["cell_type"] == "code"}
    assert "error:" not in "".join(shown.values())
    trained = cell_with(notebook, "--config iris")
    assert re.search(r"iris version 1, stage Production", shown[trained])
    assert re.search(r"refused", shown[cell_with(notebook, "variation_svm")])
    ledger = shown[cell_with(notebook, 'ratchet.history("iris")[')]
    assert re.findall(r"rollback|promote", ledger) == ["rollback", "promote", "promote", "promote"]
    predicted = shown[cell_with(notebook, "model.predict(flowers)")]
    assert re.findall(r"setosa|versicolor|virginica", predicted) == ["setosa", "versicolor", "virginica"]
    assert "base" in shown[cell_with(notebook, "model.explain(flowers)")]
    assert "image/png" in shown[cell_with(notebook, ".plot.")]


def cell_with(notebook: Any, text: str) -> str:
    """Return the id of the first code cell with a text."""
    return next(cell["id"] for cell in notebook.cells if cell["cell_type"] == "code" and text in cell["source"])


def shown_by(cell: Any) -> str:
    """Return the text outputs of a cell, and the types of its others."""
    parts = []
    for output in cell["outputs"]:
        data = output.get("data", {})
        parts += [output.get("text", ""), data.get("text/plain", ""), *data]
    return "\n".join(parts)
