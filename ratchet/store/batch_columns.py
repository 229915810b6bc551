"""Rows of batches as Arrow columns of the archive, without a Python object for each value where that is possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ratchet.store.archive_columns import is_json, to_table
from ratchet.store.prediction_batches import PredictionBatch, row_id
from ratchet.store.tables import predictions

if TYPE_CHECKING:
    import pyarrow as pa


def batches_to_table(rows: Sequence[Mapping[str, Any]], like: pa.Schema | None = None) -> pa.Table:
    """Return the rows of batches as ``to_table`` returns those of single predictions.

    Parameters
    ----------
    rows: of the table of batches.
    like: as for ``to_table``.
    """
    import pyarrow as pa

    batches = [PredictionBatch(**row) for row in rows]
    if like is None or not any(map(is_json, like)):
        try:
            tables = [_expanded(batch) for batch in batches]
            before = [] if like is None else [like.empty_table()]
            return pa.concat_tables([*before, *tables], promote_options="permissive").combine_chunks()
        except pa.ArrowException:  # values of several types
            pass
    return to_table([dict(row) for batch in batches for row in batch.rows()], predictions, like)


def _expanded(batch: PredictionBatch) -> pa.Table:
    """Return the rows of a batch.

    Raises
    ------
    ArrowTypeError: a column holds values of several types.
    """
    import pyarrow as pa

    stored, n_rows = batch.table(), batch.n_rows
    if any(map(_is_mixed, stored.schema.types)):
        raise pa.ArrowTypeError("values of several types")
    known = {
        "id": pa.array([row_id(batch.id, index) for index in range(n_rows)], pa.string()),
        "created_at": pa.repeat(pa.scalar(round(batch.created_at * 1e6), pa.timestamp("us", "UTC")), n_rows),
        "version": pa.repeat(pa.scalar(batch.version), n_rows),
        "latency": pa.repeat(pa.scalar(batch.latency), n_rows),
        "score": pa.nulls(n_rows, pa.float64()),
        "probabilities": pa.nulls(n_rows),
    } | dict(zip(stored.column_names, stored.columns, strict=True))
    return pa.table({column.name: known[column.name] for column in predictions.columns if column.name != "model"})


def _is_mixed(kind: pa.DataType) -> bool:
    """Whether values of a type are stored as JSON text, or a struct has no field that Parquet could store."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return kind.num_fields == 0 or any(_is_mixed(field.type) for field in kind)
    return isinstance(kind, pa.JsonType)
