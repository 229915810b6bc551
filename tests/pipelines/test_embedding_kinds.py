"""Another kind of embedder through the whole training pipeline: ZenML hands its section to the step as it is."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from ratchet.config import TextEmbed
from ratchet.registry.fetch_package import fetch_package
from ratchet.registry.production_pointer import ProductionPointer
from ratchet.settings import Settings
from tests.training_runs import config_for, train_in


@pytest.mark.slow
def test_a_model_of_texts_is_trained_by_the_pipeline_and_its_package_reads_them(
    settings: Settings, tmp_path: Path
) -> None:
    reviews = {"good": ["a warm film", "charming and warm"], "bad": ["a dull film", "dull and slow"]}
    rows = [(text, verdict) for verdict, texts in reviews.items() for text in texts * 20]
    pd.DataFrame(rows, columns=["review", "verdict"]).to_csv(tmp_path / "reviews.csv", index=False)
    config = config_for(
        "texts",
        f"dataset={{source: csv, path: {tmp_path}/reviews.csv, target: verdict, columns: {{review: {{type: text}}}}}}",
        "embed={kind: text, n_components: 4}",
    )
    assert isinstance(config.embed, TextEmbed)
    summary = train_in(settings, config)
    assert summary.evaluation.primary == 1.0
    champion = ProductionPointer(settings, "texts").current()
    assert champion is not None
    package = fetch_package(settings, champion)
    assert package.model.predict(pd.DataFrame({"review": ["so warm", "slow"]})).tolist() == ["good", "bad"]
