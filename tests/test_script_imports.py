"""Benchmarks and demos, which no test runs, import names that exist."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from tests.conftest import ROOT

OURS = ("commands", "pipelines", "ratchet", "serving", "simulation")
SCRIPTS = [path.relative_to(ROOT) for folder in ("benchmarks", "docs/demos") for path in (ROOT / folder).rglob("*.py")]


@pytest.mark.parametrize("script", sorted(SCRIPTS), ids=str)
def test_the_names_that_a_script_imports_exist(script: Path) -> None:
    imports = [
        (node.module, alias.name)
        for node in ast.walk(ast.parse((ROOT / script).read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in OURS
        for alias in node.names
    ]
    missing = [found for found in imports if not _exists(*found)]
    assert not missing


def _exists(module: str, name: str) -> bool:
    loaded = importlib.import_module(module)
    if hasattr(loaded, name):
        return True
    try:
        importlib.import_module(f"{module}.{name}")
    except ModuleNotFoundError:
        return False
    return True
