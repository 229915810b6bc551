"""The package: a pipeline and its accompanying files, sealed by a digest.

A package is a folder that MLflow can load (``MLmodel``, ``model.skops``), with ``schema.json``, ``profile.json``,
``sample.json``, ``golden.json``, ``training_rows.npy``, ``training_rows.json``, ``model.onnx`` if the export succeeded,
and ``manifest.json``, which has the SHA-256 of every other file. The SHA-256 of the manifest is the digest. A folder
with anything else in it is no package.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from pydantic import BaseModel

from ratchet.data.fingerprint import file_sha256
from ratchet.data.schema import Schema
from ratchet.data.training_rows import TrainingRows
from ratchet.errors import PackageError, one_line
from ratchet.model.package.golden_predictions import TOLERANCE, Golden, golden_difference, record_golden
from ratchet.model.package.mlflow_model import save_mlflow_model
from ratchet.model.package.onnx import export_onnx
from ratchet.model.package.profile import Profile
from ratchet.model.package.profiling import profile_model, sample_rows
from ratchet.model.package.seal import MANIFEST, Manifest, verify_files
from ratchet.model.package.trusted_types import TRUSTED_TYPES, load_skops

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

logger = logging.getLogger(__name__)

_TRUST_LIST = "ratchet/model/package/trusted_types.py"
# Training rows in the package, for the domain classifier of drift.
SAMPLE_ROWS = 500


@dataclass(frozen=True)
class Package:
    """A loaded package, verified against its digest.

    Attributes
    ----------
    path: the folder it was loaded from, which may be temporary.
    model: embedder and estimator in one pipeline.
    training_rows: identities of the rows that the model was fitted on.
    onnx: the bytes of the verified export, or None.
    sample: the features of some training rows; None in old packages.
    """

    path: Path
    digest: str
    model: Pipeline
    schema: Schema
    profile: Profile
    golden: Golden
    training_rows: TrainingRows
    onnx: bytes | None
    sample: pd.DataFrame | None = None


def write_package(
    folder: Path,
    model: Pipeline,
    rows: pd.DataFrame,
    schema: Schema,
    training_rows: TrainingRows | None = None,
) -> tuple[str, Manifest]:
    """Write a package, and return its digest and manifest.

    Parameters
    ----------
    folder: has to be empty, or not to exist. All that is in it is sealed, also the files that MLflow adds.
    rows: the typed rows that the pipeline was fitted on, features and target.
    training_rows: identities of all rows that it was fitted on; None for ``rows``, known by their contents.

    Raises
    ------
    PackageError: the model holds a type that ``ratchet.model.package.trusted_types`` does not list.
    """
    features = schema.select(rows)
    _refuse_untrusted(model)
    save_mlflow_model(folder, model, features, schema)
    _write_json(folder / "schema.json", schema)
    _write_json(folder / "profile.json", profile_model(model, rows, schema))
    _write_sample(folder / "sample.json", features)
    _write_json(folder / "golden.json", record_golden(model, rows, schema))
    (training_rows or TrainingRows.of_unknown_place(rows, schema.target)).save(folder)
    onnx, report = export_onnx(model, rows, schema)
    if onnx is None:
        logger.info("there is no ONNX export, scikit-learn computes the predictions: %s", report.reason)
    else:
        (folder / "model.onnx").write_bytes(onnx)
    written = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): file_sha256(path) for path in written}
    manifest = Manifest(files=files, onnx=report)
    _write_json(folder / MANIFEST, manifest)
    return file_sha256(folder / MANIFEST), manifest


def load_package(folder: Path, digest: str) -> Package:
    """Load a package after every file was verified, with this repository's own trust list.

    The digest is the one that was recorded at registration.

    Raises
    ------
    PackageError: a file is missing, differs, or holds a type that is not trusted.
    """
    manifest = verify_files(folder, digest)
    schema = Schema.model_validate_json((folder / "schema.json").read_text())
    return Package(
        path=folder,
        digest=digest,
        model=load_pipeline(folder),
        schema=schema,
        profile=Profile.model_validate_json((folder / "profile.json").read_text()),
        golden=Golden.model_validate_json((folder / "golden.json").read_text()),
        training_rows=TrainingRows.load(folder),
        onnx=(folder / "model.onnx").read_bytes() if manifest.onnx.exported else None,
        sample=_read_sample(folder / "sample.json", schema) if "sample.json" in manifest.files else None,
    )


def verify_package(package: Package) -> None:
    """Check that a loaded package reproduces its golden predictions.

    Raises
    ------
    PackageError: a label differs, a number differs by more than ``TOLERANCE``, or a number is not finite.
    """
    found = golden_difference(package.model, package.golden, package.schema)
    if not found.within(TOLERANCE):
        raise PackageError(f"golden rows: {found.reason} from those at training, allowed is {TOLERANCE:g}")


def load_pipeline(folder: Path) -> Pipeline:
    """Load the pipeline of a package whose files were verified, with this repository's own trust list.

    Raises
    ------
    PackageError: it holds a type that is not trusted.
    """
    from skops.io.exceptions import UntrustedTypesFoundException

    path = folder / "model.skops"
    try:
        return load_skops(path.read_bytes())
    except UntrustedTypesFoundException as error:
        raise PackageError(f"{path}: {one_line(error)}; see {_TRUST_LIST}") from None


def _refuse_untrusted(model: Any) -> None:
    import skops.io

    unknown = sorted(set(skops.io.get_untrusted_types(data=skops.io.dumps(model))) - set(TRUSTED_TYPES))
    if unknown:
        raise PackageError(
            f"the model holds {', '.join(unknown)}, which {_TRUST_LIST} does not list:"
            " review the type and add it there, or choose another estimator"
        )


def _write_json(path: Path, value: BaseModel) -> None:
    path.write_text(json.dumps(value.model_dump(mode="json"), indent=1, sort_keys=True) + "\n")


def _write_sample(path: Path, features: pd.DataFrame) -> None:
    """Write one column on each line, which keeps the file small and readable."""
    sample = features.iloc[sample_rows(len(features), SAMPLE_ROWS)]
    columns = {name: [None if pd.isna(value) else value for value in sample[name].tolist()] for name in sample}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(values)}" for name, values in columns.items())
    path.write_text(f"{{\n{lines}\n}}\n")


def _read_sample(path: Path, schema: Schema) -> pd.DataFrame:
    return schema.select(pd.DataFrame(json.loads(path.read_text()), dtype=object))
