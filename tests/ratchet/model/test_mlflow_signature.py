"""The training file, read by pandas, is accepted by a package that MLflow loads."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.scoring_server import parse_csv_input

from ratchet.data import load_dataset
from ratchet.model.package.mlflow_model import signature_of
from tests.fitted import Trained, baseline, packaged

ROWS = 120


def rows() -> pd.DataFrame:
    """Integers, booleans, numbers and text, without and with gaps, and columns that the config drops."""
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "row": np.arange(ROWS),
            "count": draw.integers(0, 50, ROWS),
            "binary": draw.integers(0, 2, ROWS),
            "small": draw.integers(0, 5, ROWS).astype("int8"),
            "flag": draw.random(ROWS) < 0.5,
            "size": draw.normal(size=ROWS).round(3),
            "whole": draw.integers(0, 9, ROWS) * 1.0,
            "gaps": pd.array(draw.integers(0, 9, ROWS), dtype="Int64"),
            "maybe": pd.array(draw.random(ROWS) < 0.5, dtype="boolean"),
            "plan": draw.choice(["basic", "pro"], ROWS),
        }
    )
    frame.loc[::7, ["gaps", "maybe"]] = pd.NA
    return frame.assign(kind=np.where(frame["count"] + 20 * frame["flag"] > 30, "many", "few"))


def loaded(trained: Trained, folder: Path) -> Any:
    return mlflow.pyfunc.load_model(str(packaged(trained, folder / "package")[0]))


def test_a_file_of_integers_and_booleans_is_predicted_as_in_training(tmp_path: Path) -> None:
    rows().to_csv(tmp_path / "data.csv", index=False)
    trained = baseline(
        f"dataset={{source: csv, path: {tmp_path}/data.csv, target: kind, drop: [row]}}", "embed={reducer: none}"
    )
    model = loaded(trained, tmp_path)
    types = {spec.name: str(spec.type) for spec in model.metadata.signature.inputs.inputs}
    assert types == {
        "count": "DataType.long",
        "binary": "DataType.long",
        "small": "DataType.long",
        "flag": "DataType.boolean",
        "size": "DataType.double",
        "whole": "DataType.double",
        "gaps": "DataType.double",
        "maybe": "DataType.boolean",
        "plan": "DataType.string",
    }
    frame = load_dataset(trained.config.dataset, trained.config.task).frame
    read = pd.read_csv(tmp_path / "data.csv")
    served = model.predict(read)
    assert (served == trained.model.predict(trained.schema.select(frame))).all()
    assert (model.predict(read.head(2)) == served[:2]).all()
    # The scoring server reads booleans as bool, which has no missing value.
    known = read["maybe"].notna()
    posted = parse_csv_input(io.StringIO(read[known].to_csv(index=False)), model.metadata.get_input_schema())
    assert (model.predict(posted) == served[known]).all()


def test_the_digits_of_a_category_are_refused_as_numbers_and_taken_as_text(tmp_path: Path) -> None:
    frame = rows()[["count", "kind"]].assign(zip=np.random.default_rng(1).choice(["02116", "00501"], ROWS))
    frame.to_csv(tmp_path / "data.csv", index=False)
    columns = "columns: {zip: {type: category}}"
    trained = baseline(f"dataset={{source: csv, path: {tmp_path}/data.csv, target: kind, {columns}}}", "embed={}")
    model = loaded(trained, tmp_path)
    with pytest.raises(MlflowException, match="zip"):
        model.predict(pd.read_csv(tmp_path / "data.csv"))
    assert len(model.predict(pd.read_csv(tmp_path / "data.csv", dtype={"zip": str}))) == ROWS


@pytest.mark.parametrize("name", ["iris", "diabetes"])
def test_bundled_data_are_predicted_from_their_own_file(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    trained: Trained = request.getfixturevalue(name)
    trained.train.to_csv(tmp_path / "data.csv", index=False)
    served = loaded(trained, tmp_path).predict(pd.read_csv(tmp_path / "data.csv"))
    expected = trained.model.predict(trained.schema.select(trained.train))
    assert served.tolist() == pytest.approx(expected.tolist()) if name == "diabetes" else (served == expected).all()


@pytest.mark.parametrize(
    ("classes", "type_"),
    [(["few", "many"], "string"), ([0, 1], "long"), ([True, False], "boolean"), ([0.5, 1.5], "double")],
    ids=["text", "integers", "booleans", "numbers"],
)
def test_the_output_is_a_column_of_the_targets_name_and_type(classes: list[Any], type_: str, iris: Trained) -> None:
    outputs = signature_of(iris.schema, np.array(classes * 3)).outputs
    assert [(spec.name, str(spec.type)) for spec in outputs.inputs] == [("species", f"DataType.{type_}")]
    assert signature_of(iris.schema, np.array(classes * 3, dtype=object)).outputs == outputs
