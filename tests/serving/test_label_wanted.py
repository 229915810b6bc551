"""The audit sample in the answers of the running service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ratchet.feedback.audit_sample import is_audited
from ratchet.registry.audit_share import audit_share_of, set_audit_share
from ratchet.settings import Settings
from tests.fitted import Trained
from tests.serving.conftest import published
from tests.serving.running import RECORD, Service, serving

ROWS = 400


def batch(service: Service) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = service.post("/predict_batch", {"rows": [RECORD] * ROWS})[1]["predictions"]
    return answers


@pytest.mark.slow
def test_answers_ask_for_the_labels_of_the_audit_sample(
    served_settings: Settings, iris_models: tuple[Trained, Trained], output: Path
) -> None:
    pointer = published(served_settings, iris_models[0])
    with serving(served_settings, pointer.model, output, RATCHET_POLL_INTERVAL="0.5") as service:
        assert not any("label_wanted" in answer for answer in batch(service)), "without a share nothing changes"

        set_audit_share(served_settings, pointer.require_current(), 0.25)
        service.until(lambda: all(any("label_wanted" in answer for answer in batch(service)) for _ in range(4)))
        answers = batch(service)
        wanted = [answer for answer in answers if "label_wanted" in answer]
        assert wanted == [answer for answer in answers if is_audited(answer["prediction_id"], 0.25)]
        assert all(answer["label_wanted"] is True for answer in wanted)
        assert len(wanted) == pytest.approx(ROWS / 4, abs=4 * (ROWS * 0.25 * 0.75) ** 0.5)
        for _ in range(20):
            _, answer = service.post("/predict", RECORD)
            assert answer.get("label_wanted", False) == is_audited(answer["prediction_id"], 0.25)

        set_audit_share(served_settings, pointer.require_current(), 0.0)
        service.until(lambda: not any("label_wanted" in answer for _ in range(4) for answer in batch(service)))


def test_the_share_is_read_from_the_version_in_production(
    served_settings: Settings, iris_models: tuple[Trained, Trained]
) -> None:
    pointer = published(served_settings, iris_models[0])
    version = pointer.require_current()
    assert audit_share_of(None) is None
    assert audit_share_of(version) is None
    for share, expected in ((0.1, 0.1), (None, 0.1), (1.0, 1.0), (0.0, None)):
        set_audit_share(served_settings, pointer.require_current(), share)
        assert audit_share_of(pointer.require_current()) == expected
