"""The config of a report: its model, its rows, and its threshold of drift."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ratchet.config import Section


class ReportDrift(Section):
    """When a column of the report is drifted; the method is the same for every column and number of rows."""

    method: Literal["psi"] = "psi"
    threshold: float = Field(default=0.2, gt=0)
    share: float = Field(
        default=0.5, gt=0, le=1, description="Share of drifted columns from which the data set is drifted."
    )


class ReportingConfig(Section):
    """A report that compares the newest predictions of the champion with its training rows."""

    pipeline: Literal["reporting"]
    model: str | None = Field(
        default=None, pattern=r"^[a-zA-Z][\w-]*$", description="The registered model; needed where there are several."
    )
    seed: int = Field(default=42, ge=0, lt=2**32)
    window: int = Field(
        default=1000, ge=1, le=100_000, description="Number of the newest predictions, and of the newest labelled rows."
    )
    rows: int = Field(
        default=5000, ge=10, le=100_000, description="The most rows in the report; of more, a seeded sample is taken."
    )
    drift: ReportDrift = ReportDrift()
