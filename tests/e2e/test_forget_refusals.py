"""What ``forget`` refuses, and what it prints where there is nothing to do."""

from __future__ import annotations

import pytest

from ratchet.settings import Settings
from ratchet.store.database import open_store
from ratchet.store.predictions import insert_predictions
from tests.conftest import Cli
from tests.e2e.test_cli import refused
from tests.store_rows import prediction
from tests.training_runs import config_for, train_in

MODEL = "refusing"
FLOWER = {"sepal_length": 5.123, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
ID = f"{77:036d}"


@pytest.fixture(scope="module")
def trained(settings: Settings) -> Settings:
    """A model with one prediction."""
    train_in(settings, config_for(MODEL))
    insert_predictions(open_store(settings), [prediction(77, model=MODEL, version="1", features=FLOWER)])
    return settings


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--where", "sepal_lenght=5.1"], "there is no column 'sepal_lenght'; did you mean 'sepal_length' or"),
        (["--where", "sepal_length="], "got 'sepal_length=', expected column=value with both"),
        (["--where", "sepal_length=long"], "sepal_length: expected a number, got 'long'"),
        (["--prediction", "unknown"], "there is no prediction 'unknown' of this model"),
        (["--where", "sepal_length=5.123"], "this is not a terminal: confirm the removal with --yes"),
        (["--prediction", ID], "this is not a terminal: confirm the removal with --yes"),
        (["--repeat", "9999"], "there is no erasure 9999"),
    ],
)
def test_an_erasure_that_is_not_clear_removes_nothing(
    trained: Settings, here: Cli, words: list[str], message: str
) -> None:
    assert message in refused(here("forget", "--model", MODEL, *words))
    assert (
        "1 prediction with features match" in here("forget", "--model", MODEL, "--prediction", ID, "--dry-run").stdout
    )


@pytest.mark.parametrize(
    "words", [[], ["--prediction", ID, "--where", "sepal_length=5.1"], ["--history", "--repeat", "1"]], ids=len
)
def test_one_selection_is_needed(trained: Settings, here: Cli, words: list[str]) -> None:
    result = here("forget", "--model", MODEL, *words)
    assert result.returncode == 2
    assert "give one of --prediction, --where, --repeat and --history" in " ".join(result.stderr.split())


def test_a_repetition_has_no_dry_run(trained: Settings, here: Cli) -> None:
    result = here("forget", "--model", MODEL, "--repeat", "1", "--dry-run")
    assert result.returncode == 2
    assert "--repeat has no dry run" in " ".join(result.stderr.split())


def test_an_empty_ledger_is_named(trained: Settings, here: Cli) -> None:
    assert here("forget", "--model", MODEL, "--history").stdout == "no erasure is recorded\n"


def test_no_match_is_no_error(trained: Settings, here: Cli) -> None:
    result = here("forget", "--model", MODEL, "--where", "sepal_length=1", "--yes")
    assert result.stdout == f"{MODEL}: no prediction with features matches; there is nothing to remove\n"


def test_the_output_fits_a_narrow_terminal(trained: Settings, here: Cli) -> None:
    planned = here("forget", "--model", MODEL, "--where", "sepal_length=5.1230", "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert max(map(len, planned.stdout.splitlines())) < 80
    assert "no version was trained on them" in planned.stdout
