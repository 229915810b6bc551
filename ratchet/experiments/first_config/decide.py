"""All decisions of a first config, in their order: columns, time, task, metric, split, estimators, memory."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from ratchet.config import LABELLED, LOSSES, TaskName, TrainingConfig
from ratchet.config.files import parse_config
from ratchet.data import LoadedDataset, load_dataset
from ratchet.data.suspicion import quoted
from ratchet.errors import ConfigError, DataError
from ratchet.experiments.first_config.columns import draft_columns, settle_columns
from ratchet.experiments.first_config.draft import Decision, Draft
from ratchet.experiments.first_config.estimators import Recipe, recipes
from ratchet.experiments.first_config.file_sample import FileSample, open_sample
from ratchet.experiments.first_config.memory import choose_memory
from ratchet.experiments.first_config.ratings import are_ratings, user_and_item
from ratchet.experiments.first_config.target import Goal, choose_goal, inferred_task
from ratchet.experiments.first_config.time_order import series_keys, time_column
from ratchet.model.tasks import TASKS
from ratchet.nearest_names import nearest

_NAME = re.compile(r"[a-zA-Z][\w-]{0,149}")
_FEWEST_ROWS = 20
# Held-out rows that the gate needs for a comparison.
_FEWEST_HELD_OUT = 10
_POSITIVE = ("yes", "y", "true", "1", "positive")


@dataclass(frozen=True)
class FirstConfig:
    """A config for a file, with what was found in it.

    Attributes
    ----------
    name: of the model, and of the folder of its configs.
    sections: the sections of the baseline by key.
    recipes: the baseline and its variations.
    decisions, warnings: in the order in which they were made.
    goal: task, metric and what a constant answer scores.
    data: the rows that were looked at, typed and checked as a run does.
    sample: the file, and which part was looked at; ``rows_at`` no longer exists where that is a part.
    n_rows: rows of the file, an estimate where not all were looked at.
    """

    name: str
    sections: Mapping[str, Any]
    recipes: tuple[Recipe, ...]
    decisions: tuple[Decision, ...]
    warnings: tuple[str, ...]
    goal: Goal
    data: LoadedDataset
    sample: FileSample
    n_rows: int

    def config(self, recipe: Recipe) -> dict[str, Any]:
        """Return the config of the baseline or of a variation."""
        embed = dict(self.sections["embed"])
        if "scaler" in embed:
            embed["scaler"] = recipe.scaler
        return {**self.sections, "embed": embed, "train": recipe.train}


def model_name(path: Path, name: str | None) -> str:
    """Return the name of the model: the given one, else that of the file with underscores for other characters.

    Raises
    ------
    ConfigError: the name is no name of a model.
    """
    if name is not None:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"--name: got {name!r}, expected letters, digits, _ and -, with a letter first")
        return name
    letters = unicodedata.normalize("NFKD", path.stem).encode("ascii", "ignore").decode()
    found = re.sub(r"[^a-zA-Z0-9]+", "_", letters).strip("_").lower()
    return found if _NAME.fullmatch(found) else f"model_{found}".rstrip("_")[:150]


@contextmanager
def first_config(path: Path, target: str | None, name: str, task: str | None) -> Iterator[FirstConfig]:
    """Look at a file and decide on a config; errors in the block name the file.

    Raises
    ------
    ConfigError: there is no such task.
    DataError: the file is not one that a model can be trained on; the message says what to do.
    """
    if task is not None and task not in get_args(TaskName):
        raise ConfigError(f"--task: unknown task {task!r}{nearest(task, get_args(TaskName))}")
    with open_sample(path) as sample:
        yield _decide(sample, target, name, task)


def _decide(sample: FileSample, target: str | None, name: str, wanted: Any) -> FirstConfig:
    draft = draft_columns(sample, target)
    rows = draft.rows()
    n_rows = _number_of_rows(sample, rows)
    _choose_time(draft, rows)
    task = _choose_task(draft, rows, wanted)
    goal = choose_goal(draft, rows[draft.target], task)
    _check_time(draft, rows, goal)
    needed = user_and_item(draft, rows) if task == "recommendation" else draft.config().groups
    settle_columns(draft, rows, task, needed)
    embed = _embed(draft, needed, task)
    _positive(draft, goal)
    batches = choose_memory(draft, rows, n_rows, goal, embed)
    shares = goal.shares
    found = recipes(
        task, n_rows, len(shares), uneven=goal.uneven, text=embed["kind"] == "text", batches=batches
    )  # fmt: skip
    split = _split(draft, n_rows, labelled=bool(shares) and not batches)
    sections = {
        "pipeline": "training",
        "model": name,
        "task": task,
        "seed": 42,
        "dataset": draft.section(),
        "split": split,
        "embed": embed,
        "train": found[0].train,
        "evaluate": {"primary_metric": goal.metric},
        "promote": {"policy": "better", "confidence": 0.95},
    }
    data = _checked(draft, sections)
    if task == "forecasting":
        goal = _with_last_value(goal, data.frame, draft.target)
    draft.decide("evaluate.primary_metric", goal.metric, _why_metric(goal))
    weights = ", with weights for classes of such different sizes" if "class_weight" in str(found[0].params) else ""
    draft.decide("train", found[0].title.lower(), f"the simplest model, which the variations have to beat{weights}")
    return FirstConfig(
        name, sections, tuple(found), tuple(draft.decisions), tuple(draft.warnings), goal, data, sample, n_rows
    )


def _number_of_rows(sample: FileSample, rows: pd.DataFrame) -> int:
    n_rows = sample.n_rows or round(len(rows) / sample.share)
    if n_rows < _FEWEST_ROWS:
        raise DataError(
            f"{sample.path} has {n_rows} rows: training rows and a holdout need {_FEWEST_ROWS} at least; add rows"
        )
    return n_rows


def _choose_time(draft: Draft, rows: pd.DataFrame) -> None:
    """Choose the column that orders the rows, and leave out the other times, of which a model learns nothing."""
    names = [name for name, rule in draft.declared.items() if rule.get("type") == "time" and name != draft.target]
    names = [name for name in names if name not in draft.dropped]
    chosen = time_column(rows, names)
    draft.decisions = [
        one for one in draft.decisions if one.key != "dataset.columns" or not one.value.endswith(" as time")
    ]
    if chosen is not None:
        draft.dataset["time"] = chosen[0]
        draft.decide("dataset.time", quoted(chosen[0]), f"a time, and {chosen[1]}; the newest rows are held out")
    for name in names:
        del draft.declared[name]
        if chosen is None or name != chosen[0]:
            draft.drop(name, "a time that does not order the rows; to use it, make a number of it, such as an age")


def _choose_task(draft: Draft, rows: pd.DataFrame, wanted: TaskName | None) -> TaskName:
    """Choose the task, and for a series its groups, gaps and lags."""
    time = draft.dataset.get("time")
    is_number = pd.api.types.is_numeric_dtype(rows[draft.target]) and not pd.api.types.is_bool_dtype(rows[draft.target])
    series = None
    if time is not None and is_number and wanted in (None, "forecasting"):
        series = series_keys(rows, draft.section(), time, complete=draft.sample.complete)
    task, why = inferred_task(draft, rows[draft.target], has_series=series is not None)
    if are_ratings(draft, rows):
        task, why = "recommendation", "a rating, with a column of users and one of items"
    if wanted is not None:
        task, why = wanted, "--task"
    draft.decide("task", task, why)
    if task == "forecasting":
        if series is None:
            raise DataError(_no_series(draft, time))
        draft.dataset |= series.keys
        for key, reason in series.why.items():
            value = f"{key} {series.keys[key]}" if key != "window" else f"lags {series.keys[key]['lags'][draft.target]}"
            draft.decide(f"dataset.{key}", value, reason)
    return task


def _no_series(draft: Draft, time: str | None) -> str:
    if time is None:
        return f"--task forecasting: {draft.sample.path} has no column of times in ISO 8601, such as 2026-01-31T18:00"
    return (
        f"--task forecasting: the rows of {draft.sample.path} have no even steps of {time!r}, in one series or in"
        " several that one column tells apart; the target has to be a number"
    )


def _check_time(draft: Draft, rows: pd.DataFrame, goal: Goal) -> None:
    """Leave the time out if the newest rows lack a class, or the others do: neither part could be scored."""
    time = draft.dataset.get("time")
    if time is None or not goal.shares or not draft.sample.complete:
        return
    labels = goal.values.iloc[np.argsort(rows[time].to_numpy().astype(str), kind="stable")]
    cut = round(len(labels) * (1 - _test_size(len(rows))))
    if labels[:cut].nunique() == labels[cut:].nunique() == len(goal.shares):
        return
    del draft.dataset["time"]
    draft.decisions = [one for one in draft.decisions if one.key != "dataset.time"]
    draft.drop(time, "a time, but the newest rows lack a class, so that rows are held out at random")


def _embed(draft: Draft, needed: Sequence[str], task: TaskName) -> dict[str, Any]:
    if task == "recommendation":
        return {"kind": "ratings", "user": needed[0], "item": needed[1]}
    texts = [name for name, rule in draft.declared.items() if rule.get("type") == "text" and name in draft.features]
    if texts:
        draft.decide("embed", "TF-IDF of the words", f"{', '.join(map(quoted, texts))}: sentences")
        return {"kind": "text", "ngrams": [1, 2], "min_df": 2, "scaler": "standard"}
    if task == "forecasting" or not draft.features:
        return {"kind": "series", "scaler": "standard"}
    return {"kind": "tabular", "scaler": "standard", "reducer": "none"}


def _positive(draft: Draft, goal: Goal) -> None:
    """Choose the positive one of two classes: the rarer one, or that of equal ones which its name says."""
    if len(goal.shares) != 2:
        return
    rare, other = goal.shares
    is_named = [str(label).lower() in _POSITIVE for label in (rare, other)]
    chosen, why = (other, "named as the positive one") if is_named == [False, True] else (rare, "the rarer class")
    draft.dataset["positive"] = chosen
    draft.decide("dataset.positive", quoted(chosen), f"{why}, with {goal.shares[chosen]:.1%} of the rows")


def _test_size(n_rows: int) -> float:
    """Return the share to hold out: a fifth, and of few rows as much as the gate needs."""
    return max(0.2, min(0.5, math.ceil(20 * _FEWEST_HELD_OUT / n_rows) / 20))


def _split(draft: Draft, n_rows: int, *, labelled: bool) -> dict[str, Any]:
    size = _test_size(n_rows)
    is_random = draft.dataset.get("time") is None
    how = "with the same shares of classes" if labelled and is_random else ""
    how = how if is_random else "the newest ones"
    draft.decide("split", f"{size:.0%}{f', {how}' if how else ''}", f"about {round(n_rows * size):,} rows are held out")
    return {"test_size": size} | ({"stratify": True} if labelled and is_random else {})


def _why_metric(goal: Goal) -> str:
    score, how = goal.constant
    kind = "loss" if goal.metric in LOSSES else "score"
    if goal.shares and len(goal.shares) == 2:
        rare, share = next(iter(goal.shares.items()))
        reason = f"two classes, {quoted(rare)} with {share:.1%} of the rows"
    elif goal.shares:
        reason = f"{len(goal.shares)} classes, the rarest with {min(goal.shares.values()):.1%} of the rows"
    else:
        reason = "a number to predict, in its own unit"
    return f"{reason}; {how} for every row has a {kind} of {score:.3g}"


def _with_last_value(goal: Goal, frame: pd.DataFrame, target: str) -> Goal:
    """Return the goal of a forecast, which the last known value is compared with in place of a constant."""
    error = float((frame[target] - frame[f"{target}_lag_1"]).abs().mean())
    return replace(goal, constant=(error, "the last value"))


def _checked(draft: Draft, sections: Mapping[str, Any]) -> LoadedDataset:
    """Check the rows that are looked at as a run does, and split them.

    Raises
    ------
    DataError: a row breaks a rule, or a class is too rare for both parts.
    """
    dataset = draft.sample.keys_of_rows({key: value for key, value in draft.section().items() if key != "batch_rows"})
    config: TrainingConfig = parse_config({**sections, "dataset": dataset}, "the config")
    data = load_dataset(config.dataset, config.task)
    train, holdout = TASKS[config.task].split(data.frame, data.schema, config.split, config.seed)
    if config.task in LABELLED and train[draft.target].nunique() < 2:
        raise DataError(f"target {draft.target!r}: the training rows have only one class; hold out fewer rows")
    if len(holdout) < _FEWEST_HELD_OUT:
        draft.warnings.append(f"{len(holdout)} rows are held out, and a later model is compared on 10 at least")
    return data
