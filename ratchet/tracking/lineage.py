"""The lineage of a model: code, data, config, libraries and pipeline run.

Runs and versions have the part as tags that people filter by and that searches need; all of it is in one artifact.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from ratchet.errors import RegistryError, one_line
from ratchet.tracking.artifacts import read_text
from ratchet.tracking.reader import open_reader

if TYPE_CHECKING:
    from ratchet.config import TrainingConfig
    from ratchet.settings import Settings

LIBRARIES = ("scikit-learn", "numpy", "scipy", "pandas", "skops", "mlflow", "zenml", "onnxruntime", "skl2onnx")
PREFIX = "ratchet."
# The artifact of a run with its whole lineage.
LINEAGE_FILE = "lineage.json"
CONTINUOUS = "continuous_training"
_TAGS = ("pipeline", "data_version", "git_commit")
# Tags of the runs and versions that have them: the code finds them by search, or changes them later.
_TAGS_IF_SET = ("warm_start", "audit_share", "study", "trial")
# Paths that shape no model: documents, and the output of commands. deploy/git-commit has the same list.
NOT_CODE = ("docs", "notebooks", "*.md", "metrics", "benchmarks/results")
_BUILT = re.compile(r"(?P<commit>[0-9a-f]{40})(?P<dirty>-dirty)?$")


class Lineage(BaseModel):
    """The inputs that are needed to train the same model again.

    Attributes
    ----------
    pipeline: the one that trains, such as ``training``.
    data_version: the content hash of the rows: of the data set, or in continuous training of the snapshot.
    snapshot, watermark, reference_data_version: in continuous training, the hash of the snapshot of reference and
        production rows, the newest feedback in it, and the hash of the reference data set.
    warm_start: the version that the fit continued from.
    audit_share: the share of predictions that the service asks labels for; None if the config has none.
    study, trial: the tuning study and trial number that the config comes from.
    """

    model_config = ConfigDict(frozen=True)

    pipeline: str = "training"
    git_commit: str
    git_dirty: bool
    data_version: str
    config_hash: str
    seed: int
    zenml_run_name: str = ""
    zenml_run_id: str = ""
    versions: dict[str, str]
    snapshot: str | None = None
    watermark: int | None = None
    reference_data_version: str | None = None
    warm_start: str | None = None
    audit_share: float | None = None
    study: str | None = None
    trial: int | None = None

    def flat(self) -> dict[str, str]:
        """Return all values that are set as text; the version of a library has the key ``version.<name>``."""
        values = self.model_dump(exclude={"versions"}, exclude_none=True)
        flat = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in values.items()}
        return flat | {f"version.{name}": version for name, version in self.versions.items()}

    def tags(self) -> dict[str, str]:
        """Return the tags of a run or version, with the prefix ``ratchet.``."""
        flat = self.flat()
        return {f"{PREFIX}{key}": flat[key] for key in (*_TAGS, *_TAGS_IF_SET) if key in flat}


def lineage_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the part of a lineage that is in the tags of a run or version, without their prefix.

    The rows of continuous training are a snapshot, which an earlier release named in a tag of its own.
    """
    found = {key.removeprefix(PREFIX): value for key, value in tags.items() if key.startswith(PREFIX)}
    if found.get("pipeline") == CONTINUOUS and "data_version" in found:
        return {"snapshot": found["data_version"]} | found
    return found


def whole_lineage(settings: Settings, run_id: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Return the lineage of a run or version, from its tags and the artifact of its run, as ``Lineage.flat``.

    An earlier release wrote all of it as tags. A tag has precedence, since it can be newer.

    Raises
    ------
    RegistryError: the artifact cannot be read.
    """
    known = lineage_tags(tags)
    if "config_hash" in known:
        return known
    run = open_reader(settings).run(run_id)
    if run is None:
        raise RegistryError(f"the lineage of the run {run_id} cannot be read: MLflow does not have the run")
    content = read_text(settings, run.artifact_uri, LINEAGE_FILE)
    try:
        return Lineage.model_validate_json(content).flat() | known
    except ValueError as error:
        raise RegistryError(f"the lineage of the run {run_id} cannot be read: {one_line(error)}") from None


def collect(config: TrainingConfig, data_version: str, folder: Path) -> Lineage:
    """Collect the lineage of a run that is about to start; the run adds the ids of its pipeline run."""
    from ratchet.config import config_hash

    commit, dirty = git_state(folder)
    return Lineage(
        pipeline=config.pipeline,
        git_commit=commit,
        git_dirty=dirty,
        data_version=data_version,
        config_hash=config_hash(config),
        seed=config.seed,
        audit_share=config.feedback.audit_share,
        versions=library_versions(),
    )


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the installed libraries that shape a model."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_state(folder: Path) -> tuple[str, bool]:
    """Return the checked-out commit, and whether code, configs or locks below the folder differ from it.

    Outside a repository, as in an image, they come from ``RATCHET_COMMIT``, the output of ``deploy/git-commit`` at
    build time. Without it the result is ``("unknown", True)``.
    """
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return commit, bool(_git(folder, "status", "--porcelain", "--", ".", *(f":!{path}" for path in NOT_CODE)))
    except (OSError, subprocess.CalledProcessError):
        built = _BUILT.search(os.environ.get("RATCHET_COMMIT", ""))
        return (built["commit"], built["dirty"] is not None) if built else ("unknown", True)


def _git(folder: Path, *words: str) -> str:
    run = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)  # noqa: S603, S607
    return run.stdout.strip()
