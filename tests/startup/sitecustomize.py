"""Python runs this file at its start where the folder is on the path: the settings of this process use the servers."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

# At once, since multiprocessing puts another path in place of this one.
from home_servers import use_servers


class _Settings(MetaPathFinder):
    """Puts the servers into the settings when, and only when, a process imports them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "ratchet.settings":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def load_and_point(module: ModuleType) -> None:
            load(module)
            use_servers(module.Settings)

        spec.loader.exec_module = load_and_point  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Settings())
