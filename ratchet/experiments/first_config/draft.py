"""A config that is being decided: its ``dataset`` section, each decision with its reason, and the warnings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from ratchet.config import Dataset
from ratchet.config.plain_yaml import read_yaml
from ratchet.data.sources.files import FileSource
from ratchet.data.suspicion import Suspicion, quoted
from ratchet.experiments.first_config.file_sample import FileSample

_DATASET: TypeAdapter[Any] = TypeAdapter(Dataset)
# What a warning says of a column as it is, and what the config ends.
_READ_AS_CATEGORY = re.compile(r", (each of )?which (is|are) read as (a category|categories)")


@dataclass(frozen=True)
class Decision:
    """A decision of a config.

    Attributes
    ----------
    key: of the config, such as ``dataset.drop``.
    value: what was decided, in words.
    why: the reason, without values of the data.
    examples: values of the data for the reason, for the terminal.
    """

    key: str
    value: str
    why: str
    examples: str = ""


@dataclass
class Draft:
    """The decisions so far.

    Attributes
    ----------
    sample: the rows that are looked at.
    dataset: the section ``dataset``.
    """

    sample: FileSample
    dataset: dict[str, Any]
    decisions: list[Decision] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def target(self) -> str:
        """The column to predict."""
        return str(self.dataset["target"])

    @property
    def dropped(self) -> list[str]:
        """The columns that are left out."""
        found: list[str] = self.dataset.get("drop", [])
        return found

    @property
    def features(self) -> list[str]:
        """The columns that a model may learn from; not the target, and not the time."""
        unused = {*self.dropped, self.target, self.dataset.get("time")}
        return [name for name in self.sample.header if name not in unused]

    def config(self, **changes: Any) -> Any:
        """Return the section as a config that reads the rows that are looked at."""
        return _DATASET.validate_python(self.sample.keys_of_rows({**self.dataset, **changes}))

    def rows(self) -> pd.DataFrame:
        """Return the rows that are looked at, as the source reads them with the rules so far.

        Raises
        ------
        DataError: a value does not fit its column.
        """
        return FileSource(self.config()).read()

    def decide(self, key: str, value: str, why: str, examples: str = "") -> None:
        """Record a decision."""
        self.decisions.append(Decision(key, value, why, examples))

    def drop(self, name: str, why: str, examples: str = "") -> None:
        """Leave a column out."""
        if name not in self.dropped:
            self.dataset["drop"] = [*self.dropped, name]
            self.declared.pop(name, None)
            self.decide("dataset.drop", quoted(name), why, examples)

    @property
    def declared(self) -> dict[str, dict[str, Any]]:
        """The rules of columns."""
        found: dict[str, dict[str, Any]] = self.dataset.setdefault("columns", {})
        return found

    def declare(self, name: str, rule: Mapping[str, Any], why: str, examples: str = "") -> None:
        """Set the rule of a column."""
        self.declared[name] = {**self.declared.get(name, {}), **rule}
        kind = rule.get("type", "number")
        self.decide("dataset.columns", f"{quoted(name)} as {kind}", "sentences" if kind == "text" else why, examples)

    def fix(self, found: Suspicion) -> None:
        """Put the line of a warning into the section."""
        why, _, examples = found.found.partition(" (")
        why = _READ_AS_CATEGORY.sub("", why)
        examples = examples.removesuffix(")")
        name = found.column or ""
        for key, value in read_yaml(found.fix, "the line of a warning").items():
            if key == "dataset.drop":
                self.drop(name, why, examples)
            elif key == "dataset.columns":
                self.declare(name, value[name], why, examples)
            else:  # the format of all numbers of the file, from the first of its columns
                changes = value if key == "dataset" else {key.removeprefix("dataset."): value}
                if not changes.items() <= self.dataset.items():
                    self.dataset |= changes
                    self.decide(
                        "dataset.decimal", ", ".join(f"{k} {quoted(v)}" for k, v in changes.items()), why, examples
                    )

    def section(self) -> dict[str, Any]:
        """Return the section in the order in which a config has its keys."""
        order = (
            *("source", "path", "separator", "encoding", "target", "positive", "time", "group", "window", "fill"),
            *("repeated", "decimal", "thousands", "batch_rows", "drop", "columns"),
        )
        present = {key: self.dataset[key] for key in order if self.dataset.get(key) not in (None, [], {})}
        assert set(self.dataset) <= set(order), sorted(self.dataset)  # noqa: S101
        return present
