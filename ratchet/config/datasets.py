"""The section ``dataset``: the origin of rows, with one model for each source."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from ratchet.config.rows import BaseDataset, Character
from ratchet.config.section import Section

# Names of a password among the options of a database URL.
_SECRET = re.compile(r"(password|passwd|pwd|passfile|token|secret)\s*=", re.IGNORECASE)


def check_url(url: str) -> str:
    """Return a URL of a web server, without a password, since configs are logged.

    Raises
    ------
    ValueError: it is another kind of URL, or has a password.
    """
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ValueError("has a name or password in it, and configs are logged: use an address that needs none")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"got {url!r}, expected such as https://example.org/data.csv")
    return url


class SklearnDataset(BaseDataset):
    """A data set of scikit-learn."""

    source: Literal["sklearn"]
    name: Literal["iris", "wine", "breast_cancer", "digits", "diabetes"]


class Timestamp(Section):
    """Two columns, a date and an hour, that become one column of times."""

    column: str = Field(default="time", min_length=1, description="The name of the new column.")
    date: str = Field(description="The column with the date, in ISO 8601.")
    hour: str = Field(description="The column with the hour of the day, 0 to 23.")


class Delimited(Section):
    """The keys of CSV and TSV files."""

    encoding: str = "utf-8"
    names: tuple[str, ...] = Field(default=(), description="The columns of a file without a header line.")
    timestamp: Timestamp | None = None

    @field_validator("names")
    @classmethod
    def _differ(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        twice = [name for name in value if value.count(name) > 1]
        if twice:
            raise ValueError(f"the column {twice[0]!r} is named {value.count(twice[0])} times")
        return value


class CsvDataset(Delimited, BaseDataset):
    """A CSV file, with a header line unless the config has ``names``."""

    source: Literal["csv"]
    path: Path
    separator: Character = ","


class TsvDataset(Delimited, BaseDataset):
    """A file with tabs between its fields and no quotation marks around them (IANA's text/tab-separated-values)."""

    source: Literal["tsv"]
    path: Path


class ParquetDataset(BaseDataset):
    """A Parquet file."""

    source: Literal["parquet"]
    path: Path
    batch_rows: int | None = Field(
        default=None,
        ge=100,
        le=10_000_000,
        description="Rows in memory at a time, which are fitted with partial_fit; None reads the file whole.",
    )

    @model_validator(mode="after")
    def _batches_have_no_order(self) -> Self:
        if self.batch_rows and (self.time or self.window):
            key = "window" if self.window else "time"
            raise ValueError(f"{key}: rows cannot be put into order batch by batch; leave batch_rows out")
        return self


class GeneratedDataset(BaseDataset):
    """A data set of a formula (docs/reference/datasets): the same rows for the same seed on every machine."""

    source: Literal["generated"]
    name: Literal["fraud", "churn"]
    rows: int | None = Field(default=None, ge=100, le=10_000_000, description="30,000 for fraud, 5,000 for churn.")
    seed: int = Field(default=0, ge=0, lt=2**32)


Sha256 = Annotated[str, StringConstraints(to_lower=True, pattern=r"^[0-9a-fA-F]{64}$")]


class Place(Section):
    """One file, on this machine or on a web server."""

    path: Path | None = None
    url: str | None = None
    sha256: Sha256 | None = Field(default=None, description="Of the download; default: that of the first download.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.path is None) == (self.url is None):
            raise ValueError("expected either 'path' or 'url'")
        if self.sha256 and not self.url:
            raise ValueError("sha256 belongs to a 'url'")
        if self.url:
            check_url(self.url)
        return self


class HttpDataset(Delimited, BaseDataset):
    """A file on a web server, or a file in an archive there; downloaded once."""

    source: Literal["http"]
    url: Annotated[str, AfterValidator(check_url)] = Field(description="http:// or https://, without a password.")
    sha256: Sha256 | None = Field(default=None, description="Of the download; default: that of the first download.")
    member: str | None = Field(default=None, description="The file in the archive, such as ml-100k/u.data.")
    format: Literal["csv", "tsv", "parquet"] | None = Field(
        default=None, description="Default: the ending of the member or of the URL."
    )
    separator: Character = Field(default=",", description="For csv.")

    @model_validator(mode="after")
    def _format_is_known(self) -> Self:
        if self.kind not in ("csv", "tsv", "parquet"):
            what = "member" if self.member else "url"
            raise ValueError(f"format: the {what} does not end in .csv, .tsv or .parquet: set csv, tsv or parquet")
        return self

    @property
    def kind(self) -> str:
        """The format, else the ending without its dot."""
        name = self.member or urlsplit(self.url).path
        return self.format or PurePosixPath(name.lower().removesuffix(".gz")).suffix.removeprefix(".")


class SqlDataset(BaseDataset):
    """The rows of a database query."""

    source: Literal["sql"]
    url: str | None = Field(default=None, description="SQLAlchemy's, without a password: configs are logged.")
    url_env: str | None = Field(
        default=None, pattern=r"^[A-Za-z_]\w*$", description="The environment variable that has the URL."
    )
    query: str = Field(min_length=1, description="A SELECT, with ORDER BY: the order of rows is part of their hash.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.url is None) == (self.url_env is None):
            raise ValueError("expected either 'url' or 'url_env'")
        if self.url and "://" not in self.url:
            raise ValueError("url: expected such as postgresql://user@host/database or sqlite:///file.db")
        if self.url and (urlsplit(self.url).password or _SECRET.search(unquote(self.url))):
            raise ValueError("url: has a password, and configs are logged: put the URL into a variable for url_env")
        return self


class OpenmlDataset(BaseDataset):
    """A data set of openml.org, by its id, or by its name and version."""

    source: Literal["openml"]
    name: str | None = None
    version: int | None = Field(default=None, ge=1)
    data_id: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _is_one_data_set(self) -> Self:
        by_name = (self.name is not None, self.version is not None)
        if by_name != ((False, False) if self.data_id else (True, True)):
            raise ValueError("expected either 'data_id', or 'name' and 'version'")
        return self


class NabDataset(BaseDataset):
    """A series in the format of the Numenta Anomaly Benchmark: timestamp, value, and windows of anomalies."""

    source: Literal["nab"]
    values: Place = Field(description="The CSV with the columns timestamp and value.")
    labels: Place = Field(description="The JSON with the windows of each file.")
    key: str | None = Field(default=None, description="The file's key in the JSON; default: its last two parts.")


Dataset = Annotated[
    SklearnDataset
    | CsvDataset
    | TsvDataset
    | ParquetDataset
    | GeneratedDataset
    | HttpDataset
    | SqlDataset
    | OpenmlDataset
    | NabDataset,
    Field(discriminator="source"),
]
