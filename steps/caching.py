"""When a cached step may be used again.

ZenML's cache key covers a step's own source and parameters, not the library that a thin step calls. The policy
here adds the sources of the library and the steps, the versions of the libraries that shape a model, and the
MLflow store that a cached package lives in.
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
    """SHA-256 of every Python file in ``ratchet/`` and ``steps/``, path and content."""
    digest = hashlib.sha256()
    for folder in ("ratchet", "steps"):
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@lru_cache
def library_fingerprint() -> str:
    """All that shapes a step's output beside its inputs and parameters."""
    parts = [source_fingerprint(), repr(sorted(library_versions().items())), load_settings().tracking_uri]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


WHEN_NOTHING_CHANGED = CachePolicy(cache_func=library_fingerprint)
