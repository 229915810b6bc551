"""The modules that the command of a DVC stage imports, read from the code without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

# Where each command of run.py is defined; run.py without a command trains.
_COMMANDS = {"data": "commands/data.py", "evaluate": "commands/data.py", "train": "commands/training.py"}
# What every command reads its config with.
_CONFIG_READER = "ratchet.config.files"
_PACKAGES = ("commands", "pipelines", "steps", "ratchet")

# Modules that import others by a name in a text, and which ones in a training run.
LOADED_BY_NAME = {
    "pipelines.runner": {"pipelines.training"},
    "ratchet.model.training": {"ratchet.model.estimators"},
    "ratchet.model.package.former_names": {"ratchet.model.estimators"},
}


def imported_by(cmd: str) -> set[str]:
    """Return the modules of this repository that ``python run.py …`` imports, at any depth and also in functions."""
    word = cmd.split("run.py ")[1].split(maxsplit=1)[0]
    function = "train" if word.startswith("--") else word
    return _with_imports({_CONFIG_READER, *_imports_in(ROOT / _COMMANDS[function], function)})


def imported_by_package(package: str) -> set[str]:
    """Return a package's modules, and the modules that they import at any depth."""
    return _with_imports({package, *_graph().find_descendants(package)})


def loading_by_name() -> Iterator[str]:
    """Yield the modules that import others by a name in a text, which the import graph does not show."""
    for module in sorted(_graph().modules):
        path = ROOT.joinpath(*module.split("."))
        source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if "import_module(" in source.read_text() or "__import__(" in source.read_text():
            yield module


def _with_imports(modules: set[str]) -> set[str]:
    found = modules.union(*(_graph().find_upstream_modules(module) for module in modules))
    by_name = set[str]().union(*(LOADED_BY_NAME.get(module, ()) for module in found))
    return found if by_name <= found else _with_imports(found | by_name)


@cache
def _graph() -> Any:
    import grimp

    return grimp.build_graph(*_PACKAGES, exclude_type_checking_imports=True, cache_dir=None)


def _imports_in(file: Path, function: str) -> set[str]:
    """Return the modules of this repository that the body of a function imports."""
    body = next(
        node for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef) and node.name == function
    )
    named = [node for node in ast.walk(body) if isinstance(node, ast.ImportFrom)]
    inner = {f"{node.module}.{alias.name}" for node in named for alias in node.names}
    return {name for name in {*inner, *(str(node.module) for node in named)} if name in _graph().modules}
