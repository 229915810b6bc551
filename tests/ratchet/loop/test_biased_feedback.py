"""Labels that users send for wrong answers alone must not promote a model that is worse."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from ratchet.config.continuous import ContinuousTrainingConfig
from ratchet.config.files import parse_config
from ratchet.data.snapshots import Snapshot, load_snapshot
from ratchet.feedback.audit_sample import is_audited
from ratchet.loop.snapshots import build_snapshot
from ratchet.loop.triggers import TriggerInput, quality_dropped
from ratchet.model.embedding import embed, fit_embedder
from ratchet.model.evaluation import evaluate_model
from ratchet.model.package.sealed_package import Package, load_package
from ratchet.model.training import build_estimator, fit_model
from ratchet.monitoring.label_bias import check_newest_labels
from ratchet.monitoring.production_rows import watermark
from ratchet.monitoring.windows import quality_windows
from ratchet.registry.gates import Check, GateInput, run_checks
from ratchet.registry.gates.champion import against_champion, reference_holdout
from ratchet.registry.gates.labels import unbiased_labels
from ratchet.settings import Settings
from ratchet.store.database import Store
from tests.fitted import Trained, fit, packaged
from tests.labels import Stream, records

CENTRES = np.array([[0.0, 0.0], [2.4, 0.0], [1.2, 2.1]])
NAMES = np.array(["a", "b", "c"])
SHARE = 0.1
# Ids are made from the time, and the audit sample from the ids.
AT = 1_795_000_000.0


def drawn(seed: int, n_rows: int, *, changed: bool = False) -> tuple[pd.DataFrame, npt.NDArray[Any]]:
    """Return rows of three overlapping classes, and the class of each; in a changed world ``c`` is ``a`` too."""
    generator = np.random.default_rng(seed)
    classes = generator.integers(0, 3, n_rows)
    points = CENTRES[classes] + generator.normal(size=(n_rows, 2)) * 0.65
    names = NAMES[classes]
    return pd.DataFrame(points, columns=["x", "y"]), np.where(names == "c", "a", names) if changed else names


@dataclass(frozen=True)
class Production:
    """A champion with 3,000 stored predictions, and the truth of each."""

    config: ContinuousTrainingConfig
    champion: Package
    stream: Stream
    ids: list[str]
    answers: npt.NDArray[Any]
    truth: npt.NDArray[Any]
    folder: Path
    changed: bool

    @property
    def wrong(self) -> npt.NDArray[np.bool_]:
        return self.answers != self.truth

    def label(self, which: npt.NDArray[np.bool_]) -> None:
        """Send the labels of some predictions."""
        ids = [found for found, chosen in zip(self.ids, which, strict=True) if chosen]
        self.stream.label(ids, self.truth[which].tolist())

    def audited(self) -> npt.NDArray[np.bool_]:
        return np.array([is_audited(found, SHARE) for found in self.ids])


def config_of(folder: Path, **sections: Any) -> ContinuousTrainingConfig:
    frame, classes = drawn(1, 150)
    frame.assign(kind=classes).to_csv(folder / "reference.csv", index=False)
    config: ContinuousTrainingConfig = parse_config(
        {
            "pipeline": "continuous_training",
            "model": "iris",
            "dataset": {"source": "csv", "path": str(folder / "reference.csv"), "target": "kind"},
            "embed": {"reducer": "none"},
            "train": {"estimator": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": 50}},
            "evaluate": {"primary_metric": "accuracy", "minimum": 0.1},
            **sections,
        }
    )
    return config


def produced(folder: Path, store: Store, *, changed: bool = False, scored: bool = True, **sections: Any) -> Production:
    config = config_of(folder, **sections)
    champion = load_package(*packaged(fit(config), folder / "champion"))
    rows, truth = drawn(2, 3000, changed=changed)
    answers = champion.model.predict(rows)
    shares = [dict(zip("abc", row, strict=True)) for row in champion.model.predict_proba(rows).tolist()]
    stream = Stream(store)
    ids = stream.answer(records(rows), answers.tolist(), probabilities=shares if scored else None, at=AT)
    return Production(config, champion, stream, ids, answers, truth, folder, changed)


def decided(production: Production) -> tuple[Snapshot, dict[str, Check], float]:
    """Train a challenger and run the gate; return the snapshot, the checks, and the real gain in accuracy."""
    config, folder = production.config, production.folder
    home = Settings(home=folder / "home")
    store = production.stream.store
    snapshot = build_snapshot(home, config, store, watermark(store, config.model))
    loaded = load_snapshot(home, config, snapshot.version)
    train, holdout, schema, *identities = loaded
    embedder = fit_embedder(config.embed, schema, train, config.seed)
    estimator = build_estimator(config.train, config.task, config.seed, schema)
    model = fit_model(estimator, embedder, embed(embedder, train, schema).to_numpy(), train["kind"].to_numpy())
    trained = Trained(config, schema, train, holdout, model, *identities)
    challenger = load_package(*packaged(trained, folder / "challenger"))
    evaluation = evaluate_model(model, holdout, schema, config.evaluate, seed=1)
    given = GateInput(
        config,
        challenger,
        production.champion,
        holdout,
        loaded.holdout_identities,
        evaluation,
        snapshot.reference_holdout,
        label_bias=snapshot.label_bias,
    )
    checks = run_checks(given, [against_champion, reference_holdout, unbiased_labels])
    rows, truth = drawn(3, 20_000, changed=production.changed)
    gain = (model.predict(rows) == truth).mean() - (production.champion.model.predict(rows) == truth).mean()
    return snapshot, {check.name: check for check in checks}, float(gain)


def test_complaints_alone_do_not_promote_a_worse_model(tmp_path: Path, any_store: Store) -> None:
    production = produced(tmp_path, any_store)
    production.label(production.wrong)
    snapshot, checks, gain = decided(production)
    assert gain < -0.05, "the challenger is worse"
    assert checks["against_champion"].passed, "but complaints make it look better"
    assert checks["reference_holdout"].passed
    refused = checks["unbiased_labels"]
    assert not refused.passed
    assert "the chance of a label depends on the answer: labelled rows differ from all rows in" in refused.reason
    assert "score (" in refused.reason
    assert "set feedback.audit_share, and send a label for each answer with label_wanted" in refused.reason
    assert "\n" not in refused.reason
    assert snapshot.production_holdout > 0


def test_with_an_audit_sample_the_worse_model_is_refused_by_the_comparison(tmp_path: Path, any_store: Store) -> None:
    production = produced(tmp_path, any_store, feedback={"audit_share": SHARE})
    production.label(production.wrong | production.audited())
    snapshot, checks, gain = decided(production)
    assert gain < 0
    assert checks["unbiased_labels"].passed
    assert not checks["against_champion"].passed
    assert snapshot.label_bias is None
    assert 60 < snapshot.production_holdout < 120, "the rows of the sample among the newest 30 % of the labelled rows"


def test_with_an_audit_sample_a_better_model_is_promoted(tmp_path: Path, any_store: Store) -> None:
    """The world has changed, so that complaints are right, and the reference is what is outdated."""
    production = produced(
        tmp_path, any_store, changed=True, feedback={"audit_share": SHARE}, promote={"reference_margin": None}
    )
    production.label(production.wrong | production.audited())
    _, checks, gain = decided(production)
    assert gain > 0.2
    assert not [check for check in checks.values() if not check.passed]


def test_an_audit_sample_without_labels_is_not_believed(tmp_path: Path, any_store: Store) -> None:
    """The share is set, but clients still send labels for wrong answers alone."""
    production = produced(tmp_path, any_store, feedback={"audit_share": SHARE})
    production.label(production.wrong)
    _, checks, _ = decided(production)
    refused = checks["unbiased_labels"]
    assert not refused.passed
    assert "of the audit sample have a label, 80% are needed" in refused.reason


def test_without_scores_labels_are_not_believed_before_the_audit_sample_has_them(
    tmp_path: Path, any_store: Store
) -> None:
    """Wrong answers in the proportions of the predicted classes leave no trace; clients ignore ``label_wanted``."""
    production = produced(tmp_path, any_store, scored=False, feedback={"audit_share": SHARE})
    kept = np.zeros(3000, dtype=bool)
    for name in NAMES:
        answered = production.answers == name
        kept[np.flatnonzero(production.wrong & answered)[: int(0.04 * answered.sum())]] = True
    production.label(kept)
    _, checks, _ = decided(production)
    refused = checks["unbiased_labels"]
    assert not refused.passed
    assert "no selection of labels by the answer was found" in refused.reason
    assert "without scores only the audit sample counts" in refused.reason
    assert "label_wanted" in refused.reason


def test_labels_for_a_random_part_of_the_rows_count_as_before(tmp_path: Path, any_store: Store) -> None:
    production = produced(tmp_path, any_store)
    production.label(np.random.default_rng(0).random(3000) < 0.3)
    snapshot, checks, _ = decided(production)
    assert (snapshot.label_bias, checks["unbiased_labels"].passed) == (None, True)
    assert snapshot.production_train + snapshot.production_holdout == pytest.approx(900, abs=60)


QUALITY = {"drop": 0.05, "window": 100, "k": 1, "n": 1}


def checked(production: Production) -> TriggerInput:
    """Return the input of the triggers with the label check of now."""
    config, store = production.config, production.stream.store
    check = check_newest_labels(store, config.model, config.feedback.audit_share, classes=True)
    metrics = {"accuracy": 0.92}
    return TriggerInput(store, config, "1", 0.0, None, lambda: production.champion, lambda: metrics, check)


def test_the_quality_trigger_does_not_believe_complaints(tmp_path: Path, any_store: Store) -> None:
    production = produced(tmp_path, any_store, triggers={"quality_drop": QUALITY})
    production.label(production.wrong)
    found = quality_dropped(checked(production))
    assert found is not None
    assert not found.fires
    assert "which is not believed: the chance of a label depends on the answer" in found.line
    assert [window["dropped"] for window in quality_windows(any_store, "iris", "1", 10)] == [False, False]


@pytest.mark.parametrize("changed", [False, True])
def test_the_quality_trigger_judges_the_audit_sample(tmp_path: Path, any_store: Store, changed: bool) -> None:
    production = produced(
        tmp_path, any_store, changed=changed, feedback={"audit_share": SHARE}, triggers={"quality_drop": QUALITY}
    )
    production.label(production.wrong | production.audited())
    found = quality_dropped(checked(production))
    assert found is not None
    assert found.fires == changed
    right = (~production.wrong).mean()
    for window in quality_windows(any_store, "iris", "1", 10):
        assert window["value"] == pytest.approx(right, abs=0.1)
        assert window["n_rows"] == 100
