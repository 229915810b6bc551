from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from ratchet.model.evaluation import Evaluation
from ratchet.tracking.run_figures import confusion_figure, features_figure

# matplotlib reads a text between two dollar signs as a formula, and refuses most.
LABELS = ("$1,023^$", "$\\frac{$", "a_b", "_", "100 %", "x" * 500, "two\nlines 😀")


def test_labels_and_targets_of_any_text_are_drawn_as_they_are() -> None:
    counts = tuple(tuple(row) for row in np.eye(len(LABELS), dtype=int).tolist())
    evaluation = Evaluation(
        metrics={"accuracy": 1.0},
        primary_metric="accuracy",
        low=1,
        high=1,
        confidence=0.95,
        n_rows=7,
        labels=LABELS,
        confusion=counts,
    )
    features = pd.DataFrame({"PCA_1": np.arange(7.0), "PCA_2": np.arange(7.0)})
    for figure in (
        confusion_figure(evaluation),
        features_figure(features, pd.Series(LABELS, name="$cost^$", dtype=object)),
        features_figure(features, pd.Series(np.arange(7.0), name="$cost^$")),
    ):
        figure.savefig(io.BytesIO(), format="png")


@pytest.mark.parametrize("label", ["$5", "$5$"])
def test_a_dollar_sign_is_drawn_once(label: str) -> None:
    features = pd.DataFrame({"PCA_1": np.arange(2.0), "PCA_2": np.arange(2.0)})
    figure = features_figure(features, pd.Series([label, "x"], name="y", dtype=object))
    (legend,) = [axes.get_legend() for axes in figure.axes]
    assert [text.get_text().replace("\\$", "$") for text in legend.get_texts()] == [label, "x"]
