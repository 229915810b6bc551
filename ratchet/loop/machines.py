"""The homes that use one store: what each of them shares with the others, by fingerprints, never by secrets.

Each home registers itself in the table ``machines`` at the start of a run, a watcher or a service.
"""

from __future__ import annotations

import hashlib
import logging
import socket
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from ratchet.data import dvc_remote
from ratchet.data.atomic_write import write_whole
from ratchet.errors import RatchetError
from ratchet.settings import Settings, prepare_home, without_password
from ratchet.store.database import Store, open_store
from ratchet.store.tables import machines
from ratchet.store.timestamps import iso_utc

logger = logging.getLogger(__name__)

CHECKOUT = Path(__file__).resolve().parents[2]
# Seconds after which a home that has not registered again is no longer compared.
_FORGOTTEN = 30 * 86400.0
# Seconds to wait for a store that is locked or down: a service starts without it.
_PATIENCE = 5.0
_ID_FILE = "machine.id"
# What has to be the same, and what sets it.
SHARED = {
    "link secret": "RATCHET_LINK_SECRET",
    "MLflow": "MLFLOW_TRACKING_URI",
    "artifacts": "RATCHET_ARTIFACT_ROOT",
    "DVC remote": "RATCHET_DVC_REMOTE",
    "configs": "the folder configs/",
}


@dataclass(frozen=True)
class Machine:
    """A home that uses the store.

    Attributes
    ----------
    id: of the home; it is stored in the home.
    shared: the address or fingerprint of each entry of ``SHARED``; None where it is in the home alone.
    seen_at: when it last registered, in seconds since the epoch.
    """

    id: str
    host: str
    home: str
    shared: dict[str, str | None]
    seen_at: float

    @property
    def name(self) -> str:
        """Host and home, for messages."""
        return f"{self.host}:{self.home}"

    @property
    def when(self) -> str:
        """When it last registered, in ISO 8601."""
        return iso_utc(self.seen_at)


def register(settings: Settings, *, serving: bool = False) -> list[Machine]:
    """Register this home, and return all homes that use its store, this one first; none where the store is in the home.

    Parameters
    ----------
    serving: whether a service starts, which needs less than training does.

    Raises
    ------
    StateError: the store or the home cannot be written.
    """
    if not settings.database_url:
        return []
    store, here = open_store(settings, min(settings.store_timeout, _PATIENCE)), _id_of(settings)
    own = fingerprints(settings, serving=serving)
    with store.transaction(lock="machines") as connection:
        before = connection.scalar(sa.select(machines.c.shared).where(machines.c.id == here)) or {}
        values = {
            "host": socket.gethostname(),
            "home": str(settings.home.resolve()),
            "shared": before | own,
            "seen_at": store.now(connection),
        }
        if not store.insert_new(connection, machines, id=here, **values):
            connection.execute(sa.update(machines).where(machines.c.id == here).values(**values))
    return sorted(_known(store), key=lambda machine: machine.id != here)


def register_at_start(settings: Settings, *, serving: bool = False, keeps_rows: bool = False) -> None:
    """Register this home; a store that is down is a warning.

    Parameters
    ----------
    serving: whether a service starts.
    keeps_rows: whether snapshots of training rows will be written; that other homes lack them is a warning.
    """
    try:
        found = register(settings, serving=serving)
    except RatchetError as error:
        logger.warning("this home was not registered in the store: %s", error)
        return
    if len(found) > 1 and keeps_rows and not settings.dvc_remote:
        others = ", ".join(machine.name for machine in found[1:])
        logger.warning(
            "other homes use this store (%s), and RATCHET_DVC_REMOTE is not set: their reports and reproductions of the"
            " versions that are trained here will lack the training rows",
            others,
        )


def differences(found: Sequence[Machine]) -> list[str]:
    """Return one line for each thing that the machines have to share and do not, with what to set."""
    lines = []
    for name, setting in SHARED.items():
        values = {machine.name: machine.shared[name] for machine in found if name in machine.shared}
        if len(values) < 2 or (None not in values.values() and len(set(values.values())) == 1):
            continue
        shown = ", ".join(f"{machine} has {value or 'its own'}" for machine, value in values.items())
        lines.append(f"{name} ({setting}): {shown}")
    return lines


def fingerprints(settings: Settings, *, serving: bool = False) -> dict[str, str | None]:
    """Return the address, or for secrets and files the hash, of everything that this home has to share.

    Only a service needs the link secret, and only training the artifacts, the remote and the configs.
    """
    secret = settings.link_secret.get_secret_value() if settings.link_secret else None
    found = {"MLflow": settings.tracking_place if settings.mlflow_uri else None}
    if secret or serving:
        found["link secret"] = _hashed_slowly(secret) if secret else None
    if serving:
        return found
    artifacts = settings.artifact_root or (None if settings.mlflow_artifacts else "chosen by the MLflow server")
    return found | {
        "artifacts": without_password(artifacts) if artifacts else None,
        "DVC remote": _remote(settings),
        "configs": _hash_of_configs(CHECKOUT / "configs"),
    }


def _known(store: Store) -> list[Machine]:
    with store.reading() as connection:
        recent = machines.c.seen_at > store.now(connection) - _FORGOTTEN
        rows = connection.execute(sa.select(machines).where(recent).order_by(machines.c.host, machines.c.home))
        return [Machine(row.id, row.host, row.home, row.shared, row.seen_at) for row in rows]


def _id_of(settings: Settings) -> str:
    """Return the id of the home, which it keeps in containers with other host names."""
    path = prepare_home(settings) / _ID_FILE
    if not path.is_file():
        write_whole(path, lambda partial: partial.write_text(uuid.uuid4().hex))
    return path.read_text().strip()


def _remote(settings: Settings) -> str | None:
    if not settings.dvc_remote:
        return None
    try:
        address = dvc_remote.address(CHECKOUT, settings.dvc_remote)
    except RatchetError:
        return f"{settings.dvc_remote} (not configured)"
    return f"{settings.dvc_remote} ({without_password(address)})"


def _hashed_slowly(secret: str) -> str:
    """Return a hash that cannot be searched by trying secrets quickly, with the same salt on all machines."""
    return hashlib.scrypt(secret.encode(), salt=b"ratchet.link_secret", n=2**14, r=8, p=1, dklen=6).hex()


def _hash_of_configs(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.yaml")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
