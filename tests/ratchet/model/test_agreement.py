"""The comparison of two sets of predictions, and that every place that compares predictions uses it."""

from __future__ import annotations

import json
import math
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ratchet.errors import PackageError
from ratchet.experiments.reproduction import _differences
from ratchet.inference.runtime import load_runtime
from ratchet.model.package.agreement import Outputs, difference
from ratchet.model.package.golden_predictions import TOLERANCE
from ratchet.model.package.onnx import check_parity
from ratchet.model.package.sealed_package import Package, load_package, verify_package
from ratchet.registry.gates import GateInput
from ratchet.registry.gates.package import golden, onnx_parity
from tests.fitted import Trained, sealed_again

NAN, TINY = float("nan"), 1e-17


@pytest.mark.parametrize(
    ("found", "expected", "gap"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([2 * TINY, 5.0], [TINY, 5.0], 0.0),
        ([2 * TINY], [TINY], 0.0),
        ([0.0, 3.0], [-TINY, 3.0], 0.0),
        ([1e6 + 1.0, 0.0], [1e6, 0.0], 1e-6),
        ([0.001, 1000.0], [0.0, 1000.0], 2e-6),
        ([7.0], [5.0], 0.4),
        ([NAN, 1.0], [1.0, 1.0], math.inf),
        ([1.0], [NAN], math.inf),
        ([NAN], [NAN], math.inf),
        ([math.inf], [math.inf], math.inf),
        ([1.0, 1.0], [1.0], math.inf),
    ],
)
def test_numbers_are_compared_relative_to_their_size_or_spread(
    found: list[float], expected: list[float], gap: float
) -> None:
    assert difference(Outputs(found), Outputs(expected)).gap == pytest.approx(gap)


@pytest.mark.parametrize(
    ("found", "expected", "gap", "reason"),
    [
        ((["a", "b"], [[0.6, 0.4], [0.1, 0.9]]), (["a", "b"], [[0.5, 0.5], [0.1, 0.9]]), 0.1, "probabilities differ"),
        ((["a", "a"], None), (["a", "b"], None), math.inf, "1 of 2 labels differ"),
        (([1, 2], None), ([1, 2], None), 0.0, "labels are equal"),
        ((["a"], [[NAN, NAN]]), (["a"], [[0.5, 0.5]]), math.inf, "probabilities differ by inf"),
        ((["a"], [[1.0]]), (["a"], [[0.5, 0.5]]), math.inf, "probabilities differ by inf"),
        ((["a"], None), (["a"], [[0.5, 0.5]]), 0.0, "labels are equal"),
    ],
)
def test_labels_have_to_be_equal_and_probabilities_are_compared_absolutely(
    found: Any, expected: Any, gap: float, reason: str
) -> None:
    compared = difference(Outputs(*found), Outputs(*expected))
    assert compared.gap == pytest.approx(gap)
    assert compared.reason.startswith(reason)


class Shifted:
    """A fitted regression whose predictions are changed."""

    def __init__(self, model: Any, change: float) -> None:
        self._model, self._change = model, change

    def predict(self, features: pd.DataFrame) -> Any:
        return self._model.predict(features) + self._change


@pytest.fixture
def package(diabetes_package: tuple[Path, str]) -> Package:
    return load_package(*diabetes_package)


def near_zero(package: Package, first: float) -> Package:
    """The package with a first golden prediction that is rounding noise around zero, next to usual numbers."""
    predictions: Any = (first, *package.golden.predictions[1:])
    return replace(package, golden=package.golden.model_copy(update={"predictions": predictions}))


class Constant:
    """A model with these predictions."""

    def __init__(self, predictions: Any) -> None:
        self._predictions = predictions

    def predict(self, features: pd.DataFrame) -> Any:
        return np.array(self._predictions[: len(features)], dtype=float)


@pytest.mark.parametrize(("change", "passes"), [(0.0, True), (NAN, False), (1e-3, False)])
def test_every_check_of_a_package_refuses_nan_and_other_numbers(
    diabetes: Trained, package: Package, change: float, *, passes: bool
) -> None:
    changed = replace(package, model=Shifted(package.model, change))
    given = GateInput(diabetes.config, changed, None, diabetes.holdout, None, None)  # type: ignore[arg-type]
    assert golden(given).passed == passes
    with nullcontext() if passes else pytest.raises(PackageError, match="golden rows: predictions differ by"):
        verify_package(changed)


@pytest.mark.parametrize("change", [NAN, 10.0])
def test_parity_refuses_nan(diabetes: Trained, package: Package, change: float) -> None:
    assert package.onnx is not None
    features = diabetes.schema.select(diabetes.holdout)
    model: Any = Shifted(package.model, change)
    report = check_parity(package.onnx, model, features, diabetes.schema)
    assert not report.exported
    given = GateInput(diabetes.config, replace(package, model=model), None, diabetes.holdout, None, None)  # type: ignore[arg-type]
    assert not onnx_parity(given).passed


def test_noise_around_zero_passes_every_check(diabetes: Trained, package: Package) -> None:
    golden_numbers = [TINY, *package.golden.predictions[1:]]
    noisy = replace(near_zero(package, 2 * TINY), model=Constant(golden_numbers))
    verify_package(noisy)
    given = GateInput(diabetes.config, noisy, None, diabetes.holdout, None, None)  # type: ignore[arg-type]
    assert golden(given).passed
    assert golden(given).figure == 0.0
    (line,) = _differences({}, {}, noisy, replace(noisy, golden=package.golden))
    assert line.endswith(f"within the tolerance of {TOLERANCE:g}")


@pytest.mark.parametrize("value", [NAN, 1e3])
def test_the_service_refuses_golden_numbers_that_are_not_computed(
    diabetes_package: tuple[Path, str], tmp_path: Path, value: float
) -> None:
    folder = Path(shutil.copytree(diabetes_package[0], tmp_path / "copy"))

    def changed(content: dict[str, Any]) -> None:
        content["predictions"][0] = value

    with pytest.raises(PackageError, match="golden rows: predictions differ by"):
        load_runtime(folder, sealed_again(folder, "golden.json", changed), model="m", version="1")


def test_golden_numbers_survive_json(package: Package) -> None:
    written = json.loads(package.golden.model_dump_json())["predictions"]
    assert difference(Outputs(written), package.golden.outputs).gap == 0.0
