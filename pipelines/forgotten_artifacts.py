"""Rows of production in the artifacts that ZenML keeps of runs of continuous training and of reports."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.progress import silence_libraries
from pipelines.stack import use_embedded_store
from ratchet.data.row_identities import prediction_ids
from ratchet.loop.forget.mentions import mentions
from ratchet.loop.forget.places import Forgotten
from ratchet.loop.forget.selection import Selection
from ratchet.settings import Settings
from ratchet.store.failpoints import failpoint

_TRAINING, _REPORTING = "continuous_training", "reporting"
_IDENTITIES = ("train_identities", "holdout_identities")
_PAGE = 100


class PipelineArtifacts:
    """What the steps of a run passed on: rows, samples and figures of them, and the fitted pipelines.

    The folders of all artifacts of a run are deleted; the package, the metrics and the decision are in MLflow and in
    the ledger. A run does not take a step from the cache whose outputs are gone.
    """

    name = "pipelines"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def find(self, wanted: Selection) -> set[str]:
        """Return the given ids that the artifacts of some run have; rows are not found here by their values."""
        if not wanted.ids:
            return set()
        ids = np.array(sorted(wanted.ids), dtype=object)
        hashes = prediction_ids(ids.tolist())
        found = np.zeros(len(ids), dtype=bool)
        for run, artifacts in self._runs(_TRAINING):
            known = _rows_of(run, artifacts)
            if known is not None:
                found |= np.isin(hashes, known)
        return set(ids[found].tolist())

    def erase(self, rows: Forgotten) -> list[str]:
        """Delete the artifacts of the runs that had some of the predictions, and of reports that name their texts."""
        hashes, unnamed = prediction_ids(sorted(rows.ids)), 0
        for run, artifacts in self._runs(_TRAINING):
            known = _rows_of(run, artifacts)
            if known is None:
                unnamed += 1
            elif np.isin(hashes, known).any():
                self._delete(artifacts)
        if rows.texts:
            for _, artifacts in self._runs(_REPORTING):
                self._delete([artifact for artifact in artifacts if mentions(self._text(artifact), rows.texts)])
        return [f"ZenML's artifacts of {unnamed} runs of an earlier release, whose rows have no ids"] if unnamed else []

    def _runs(self, pipeline: str) -> Iterator[tuple[Any, list[Any]]]:
        """Yield the runs of a pipeline that still have artifacts, with these.

        The last artifacts are the identities of rows, by which an interrupted erasure finds the run again.
        """
        is_embedded = use_embedded_store(self._settings)
        if is_embedded and not Path(self._settings.home, "zenml").is_dir():  # it has run no pipeline
            return
        silence_libraries()
        from zenml.client import Client

        page = pages = 1
        while page <= pages:
            found = Client().list_pipeline_runs(pipeline_name=f"equals:{pipeline}", page=page, size=_PAGE)
            for run in (Client().get_pipeline_run(each.id) for each in found.items):
                outputs = [(name, each) for step in run.steps.values() for name, each in step.outputs.items()]
                ordered = sorted(outputs, key=lambda output: output[0] in _IDENTITIES)
                artifacts = [artifact for _, each in ordered for artifact in each]
                if held := [artifact for artifact in artifacts if self._files.exists(artifact.uri)]:
                    yield run, held
            page, pages = page + 1, found.total_pages

    def _delete(self, artifacts: list[Any]) -> None:
        for artifact in artifacts:
            self._files.rmtree(artifact.uri)
            failpoint("erasure_artifact")

    def _text(self, artifact: Any) -> str:
        texts = []
        for name in self._files.listdir(artifact.uri):
            with self._files.open(f"{artifact.uri}/{name}", "rb") as file:
                texts.append(file.read().decode("utf-8", "replace"))
        return "\n".join(texts)

    @cached_property
    def _files(self) -> Any:
        from zenml.client import Client

        return Client().active_stack.artifact_store


def _rows_of(run: Any, artifacts: list[Any]) -> Any:
    """Return the identities of a run's rows, from its artifacts; None if they are not there."""
    outputs = run.steps["ingest"].outputs if "ingest" in run.steps else {}
    named = {artifact.uri for name in _IDENTITIES for artifact in outputs.get(name, ())}
    found = [artifact.load().ids for artifact in artifacts if artifact.uri in named]
    return np.concatenate(found) if found else None
