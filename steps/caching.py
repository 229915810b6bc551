"""The cache policy of the steps.

ZenML's cache key covers the source and the parameters of a step, but not the library that it calls. This policy adds
the sources of ``ratchet/`` and ``steps/``, the versions of the libraries that shape a model, and the MLflow store.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from zenml.config.cache_policy import CachePolicy

from ratchet.settings import load_settings
from ratchet.tracking.lineage import library_versions

ROOT = Path(__file__).resolve().parent.parent


def source_fingerprint(root: Path = ROOT) -> str:
    """Return the SHA-256 of path and content of every Python file in ``ratchet/`` and ``steps/``."""
    digest = hashlib.sha256()
    for folder in ("ratchet", "steps"):
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@lru_cache
def library_fingerprint() -> str:
    """Return the SHA-256 of everything that shapes the output of a step besides its inputs and parameters."""
    parts = [source_fingerprint(), repr(sorted(library_versions().items())), load_settings().tracking_uri]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


WHEN_NOTHING_CHANGED = CachePolicy(cache_func=library_fingerprint)
