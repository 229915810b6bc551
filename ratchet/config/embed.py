"""The section ``embed``: how rows become numbers, with one model for each kind of row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from ratchet.config.section import Section

Scaler = Literal["standard", "minmax", "robust", "none"]


class Embed(Section):
    """Rows of numbers and categories: impute, scale, one-hot, reduce."""

    kind: Literal["tabular"] = "tabular"
    scaler: Scaler = "standard"
    reducer: Literal["pca", "none"] = "pca"
    n_components: int | None = Field(default=None, ge=1, description="None keeps as many as the data allow.")


class ImageEmbed(Section):
    """Rows of pixels: divided by the largest value of a pixel, and reduced by PCA."""

    kind: Literal["image"]
    maximum: float = Field(default=255.0, gt=0, description="The largest value of a pixel; the smallest is 0.")
    n_components: int | None = Field(default=None, ge=1, description="None keeps as many as the data allow.")


class TextEmbed(Section):
    """Free text: TF-IDF of n-grams, reduced by a truncated SVD, next to numbers and categories."""

    kind: Literal["text"]
    columns: tuple[str, ...] = Field(default=(), description="Columns of type text; default: all of them.")
    ngrams: tuple[int, int] = Field(default=(1, 1), description="The least and the most words of a term.")
    min_df: int = Field(default=2, ge=1, description="Terms in fewer training rows are left out.")
    max_features: int | None = Field(default=20_000, ge=1, description="The most frequent terms are kept.")
    sublinear: bool = Field(default=True, description="Count 1 + ln(n) for a term that occurs n times.")
    n_components: int | None = Field(
        default=None, ge=1, description="For each column; None keeps 100, or as many as the data allow."
    )
    scaler: Scaler = "standard"

    @model_validator(mode="after")
    def _ngrams_ascend(self) -> Self:
        if not 1 <= self.ngrams[0] <= self.ngrams[1]:
            raise ValueError(f"ngrams: got {list(self.ngrams)}, expected [least, most] from 1 on, such as [1, 2]")
        return self


class SeriesEmbed(Section):
    """Rows of a series: lags and other numbers scaled, categories one-hot, and the cycles of each time."""

    kind: Literal["series"]
    scaler: Scaler = "standard"
    calendar: tuple[Literal["hour", "weekday", "month"], ...] = Field(
        default=("hour", "weekday", "month"), description="Cycles of each time column, as sine and cosine."
    )


class RatingsEmbed(Section):
    """Ratings: the codes of user and item; -1 for those that are not in the training rows."""

    kind: Literal["ratings"]
    user: str = Field(min_length=1, description="The column of users.")
    item: str = Field(min_length=1, description="The column of items.")


def _kind_of(value: Any) -> str:
    """Return the kind of a section; the default is tabular."""
    kind = value.get("kind", "tabular") if isinstance(value, Mapping) else getattr(value, "kind", "tabular")
    return str(kind)


AnyEmbed = Annotated[
    Annotated[Embed, Tag("tabular")]
    | Annotated[ImageEmbed, Tag("image")]
    | Annotated[TextEmbed, Tag("text")]
    | Annotated[SeriesEmbed, Tag("series")]
    | Annotated[RatingsEmbed, Tag("ratings")],
    Discriminator(
        _kind_of,
        custom_error_type="unknown_kind",
        custom_error_message="unknown kind; known are: image, ratings, series, tabular, text",
    ),
]
