"""Locations and addresses, from the environment and never from a config file."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, IPvAnyNetwork, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ratchet.errors import ConfigError, StateError, explain
from ratchet.private_files import create_folder
from ratchet.user_identity import complete_user_environment, user_name

# When an answer is sent: when its row is in the journal on this machine, in the store, or in the store and, while it is
# down, in the journal.
Durability: TypeAlias = Literal["journal", "strict", "spill"]


class Settings(BaseSettings):
    """Settings from ``RATCHET_*`` variables, ``.env``, and the variables of other tools."""

    model_config = SettingsConfigDict(
        env_prefix="RATCHET_", env_file=".env", extra="ignore", frozen=True, populate_by_name=True
    )

    env: Literal["local", "staging", "production"] = "local"
    home: Path = Path(".ratchet")
    models_dir: Path = Path("models")
    data_dir: Path = Path("data")
    downloads_dir: Path | None = None
    dvc_remote: str | None = None
    artifact_root: str | None = None
    database_url: str | None = None
    study_url: str | None = None
    store_timeout: float = Field(default=30.0, gt=0)
    actor: str = Field(default_factory=user_name)
    lock_timeout: float = Field(default=600.0, ge=0)
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    workers: int = Field(default=2, ge=1)
    serve_model: str | None = None
    poll_interval: float = Field(default=5.0, gt=0)
    durability: Durability | None = None
    log_patience: float = Field(default=1.0, gt=0)
    request_timeout: float = Field(default=30.0, gt=0)
    max_body_bytes: int = Field(default=4 * 2**20, ge=1024)
    max_header_bytes: int = Field(default=16 * 2**10, ge=1024)
    max_headers: int = Field(default=100, ge=10)
    header_timeout: float = Field(default=10.0, gt=0)
    idle_timeout: float = Field(default=75.0, gt=0)
    max_connections: int = Field(default=1000, ge=1)
    max_batch_rows: int = Field(default=10_000, ge=1, le=20_000)
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    link_secret: SecretStr | None = None
    link_lifetime: float = Field(default=7 * 86400.0, gt=0)
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode] = ()
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_features: bool = False
    retention_days: float | None = Field(default=None, gt=0)
    retention_rows: int | None = Field(default=None, ge=1)
    retention: Literal["archive", "delete"] = "archive"
    archive: str | None = None
    model_path: Path | None = Field(default=None, validation_alias="MODEL_PATH")
    mlflow_uri: str | None = Field(default=None, validation_alias="MLFLOW_TRACKING_URI")
    zenml_store_url: str | None = Field(default=None, validation_alias="ZENML_STORE_URL")
    zenml_stack: str | None = None
    zenml_artifacts: str | None = None

    @field_validator("api_keys", "trusted_proxies", "cors_origins", mode="before")
    @classmethod
    def _separated(cls, value: object) -> object:
        """Split a variable with several values, separated by commas."""
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @property
    def downloads(self) -> Path:
        """The folder of downloads: ``RATCHET_DOWNLOADS_DIR``, else ``downloads`` in the home."""
        return self.downloads_dir or self.home / "downloads"

    @property
    def tracking_uri(self) -> str:
        """MLflow's store: ``MLFLOW_TRACKING_URI``, else SQLite in the home."""
        return self.mlflow_uri or f"sqlite:///{self.home.resolve()}/mlflow.db"

    @property
    def tracking_place(self) -> str:
        """The URL of MLflow's store without its password."""
        return without_password(self.tracking_uri)

    @property
    def has_tracking_store(self) -> bool:
        """Whether MLflow's store exists, as far as that is known without a connection: a file may be missing."""
        kind, separator, path = self.tracking_uri.partition("sqlite:///")
        return kind != "" or not separator or Path(path.partition("?")[0]).exists()

    @property
    def store_url(self) -> str:
        """Ratchet's own store: ``RATCHET_DATABASE_URL``, else SQLite in the home."""
        return self.database_url or f"sqlite:///{self.home.resolve()}/ratchet.db"

    @property
    def durability_mode(self) -> Durability:
        """``RATCHET_DURABILITY``, else ``journal`` where the store is SQLite, and ``spill`` on PostgreSQL."""
        return self.durability or ("journal" if self.store_url.startswith("sqlite") else "spill")

    @property
    def study_store(self) -> str:
        """The store of tuning studies: ``RATCHET_STUDY_URL``, else SQLite in the home."""
        return self.study_url or f"sqlite:///{self.home.resolve()}/studies.db"

    @property
    def archive_root(self) -> str:
        """The folder or URL of archived rows: ``RATCHET_ARCHIVE``, else ``archive`` in the home."""
        return self.archive or str(self.home / "archive")

    @property
    def mlflow_artifacts(self) -> str | None:
        """The root of experiments' artifacts; None where the MLflow server decides."""
        if self.artifact_root:
            return self.artifact_root
        if self.tracking_uri.startswith(("http://", "https://")):
            return None
        return (self.home.resolve() / "mlartifacts").as_uri()


def without_password(url: str) -> str:
    """Return a URL with its password replaced by stars."""
    return re.sub(r"(://[^:/@]*):[^@/]+@", r"\1:***@", url)


def load_settings() -> Settings:
    """Read the settings.

    Raises
    ------
    ConfigError: a variable has an invalid value.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        variable = name if name.isupper() else f"RATCHET_{name.upper()}"
        raise ConfigError(f"environment variable {explain(first, [variable])}") from None


def prepare_home(settings: Settings) -> Path:
    """Create the home folder if it is missing, readable for its owner alone, and check that it is writable.

    Raises
    ------
    StateError: the folder cannot be created or written.
    """
    try:
        create_folder(settings.home)
        with tempfile.TemporaryFile(dir=settings.home):
            pass
    except OSError as error:
        raise StateError(
            f"cannot write to {settings.home} ({error.strerror}): make it writable, "
            "or set RATCHET_HOME to a writable folder"
        ) from None
    return settings.home


@contextmanager
def one_run_at_a_time(settings: Settings) -> Iterator[None]:
    """Hold the run lock of the home, since its SQLite files have a single writer.

    Another run waits for it up to ``RATCHET_LOCK_TIMEOUT`` seconds.

    Raises
    ------
    StateError: the lock was not released in time.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(prepare_home(settings) / "run.lock")
    try:
        with lock.acquire(timeout=settings.lock_timeout):
            yield
    except Timeout:
        raise StateError(
            f"another run has held {lock.lock_file} for over {settings.lock_timeout:g} s: "
            "wait until it ends, or set RATCHET_HOME to another folder"
        ) from None


def quiet_environment() -> None:
    """Disable the telemetry of libraries and shorten their retries; variables that are set keep their values."""
    complete_user_environment()
    for name, value in {
        "ZENML_ANALYTICS_OPT_IN": "false",
        "ZENML_ENABLE_REPO_INIT_WARNINGS": "false",
        "ZENML_ENABLE_RICH_TRACEBACK": "false",
        "ZENML_AUTO_OPEN_DASHBOARD": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        # MLflow's defaults retry for minutes before an unreachable server is an error.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
        "BENTOML_DO_NOT_TRACK": "true",
        # The same for botocore, whose default is 5; with 3 it still waits for a busy server.
        "AWS_MAX_ATTEMPTS": "3",
        "GIT_PYTHON_REFRESH": "quiet",
    }.items():
        os.environ.setdefault(name, value)
