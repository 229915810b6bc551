"""The config of a report: which model, how many rows, and when a column counts as drifted."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ratchet.config import Section


class ReportDrift(Section):
    """When a column of the report counts as drifted; the method is the same for every column and every size."""

    method: Literal["psi"] = "psi"
    threshold: float = Field(default=0.2, gt=0)
    share: float = Field(default=0.5, gt=0, le=1, description="Share of drifted columns that makes a data set drifted.")


class ReportingConfig(Section):
    """A report on the champion: the newest rows that it answered, beside those that it was trained on."""

    pipeline: Literal["reporting"]
    model: str | None = Field(
        default=None, pattern=r"^[a-zA-Z][\w-]*$", description="The registered model, where there are several."
    )
    seed: int = Field(default=42, ge=0, lt=2**32)
    window: int = Field(
        default=1000, ge=1, le=100_000, description="The newest predictions, and the newest labelled rows: so many."
    )
    rows: int = Field(
        default=5000, ge=10, le=100_000, description="The most rows that are drawn; of more, a seeded sample is taken."
    )
    drift: ReportDrift = ReportDrift()
