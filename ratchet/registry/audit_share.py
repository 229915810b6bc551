"""The share of the audit sample of the version in Production, as a tag that the service reads.

A challenger's own share is not enough: with biased labels no challenger is promoted before labels of the sample come.
"""

from __future__ import annotations

from ratchet.registry.model_version import Version
from ratchet.settings import Settings
from ratchet.tracking import connect, reachable
from ratchet.tracking.lineage import PREFIX

_NAME = "audit_share"


def audit_share_of(version: Version | None) -> float | None:
    """Return the share of a version's predictions that a label is asked for; None for none."""
    try:
        share = float(version.lineage[_NAME]) if version else 0.0
    except (KeyError, ValueError):
        return None
    return share if 0 < share <= 1 else None


def set_audit_share(settings: Settings, version: Version, share: float | None) -> None:
    """Set the share of a version, 0 for no sample; None leaves it as it is.

    Raises
    ------
    RegistryError: MLflow cannot be reached.
    """
    if share is None or version.lineage.get(_NAME) == str(share):
        return
    with reachable(settings):
        connect(settings).set_model_version_tag(version.model, version.version, f"{PREFIX}{_NAME}", str(share))
