"""Answer a batch: read its body, predict, and write the response and the stored batch, all of them from columns.

A batch that is sent as rows is answered as rows, and one that is sent as columns as columns. The rows of a batch are
not numbered in columns: row ``i`` has the prediction id ``<batch_id>#<i>``, with ``i`` as five digits from 00000.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import orjson

from ratchet.feedback.audit_sample import is_audited
from ratchet.inference.runtime import ColumnAnswers, Runtime
from ratchet.store.prediction_batches import PredictionBatch, row_id

if TYPE_CHECKING:
    import pyarrow as pa

Form = Literal["rows", "columns", "arrow"]


@dataclass(frozen=True)
class BatchRequest:
    """What a batch is answered from, besides its body and the model.

    Attributes
    ----------
    batch_id: of the batch.
    created_at: seconds since the epoch.
    started: the arrival of the request, from ``time.perf_counter()``, which all processes of a machine share.
    is_arrow: whether the body is an Arrow stream, and not JSON.
    wants_arrow: whether the client wants an Arrow stream.
    audit_share: the share of predictions that a label is asked for; None for none.
    """

    batch_id: str
    created_at: float
    started: float
    is_arrow: bool
    wants_arrow: bool
    audit_share: float | None = None


@dataclass(frozen=True)
class BatchReply:
    """The response to a batch, which may be sent when the batch is durable."""

    body: bytes
    is_arrow: bool
    batch: PredictionBatch


def answer(runtime: Runtime, request: BatchRequest, body: bytes) -> BatchReply:
    """Answer a batch.

    Raises
    ------
    InputError: has each invalid value, such as ``rows[3].age``.
    """
    reader = runtime.batch_reader
    rows, as_columns = (reader.read_arrow(body), True) if request.is_arrow else reader.read_json(body)
    answers = runtime.predict_columns(rows)
    form: Form = "arrow" if request.wants_arrow else "columns" if as_columns else "rows"
    content = _WRITERS[form](_Answered(runtime, request, answers))
    return BatchReply(content, form == "arrow", _stored(runtime, request, rows, answers))


@dataclass(frozen=True)
class _Answered:
    runtime: Runtime
    request: BatchRequest
    answers: ColumnAnswers

    @property
    def model(self) -> dict[str, str]:
        return {"name": self.runtime.model, "version": self.runtime.version}

    @property
    def probabilities(self) -> dict[str, npt.NDArray[Any]]:
        """The probabilities by class name."""
        found, names = self.answers.probabilities, self.runtime.classes
        return {} if found is None or names is None else dict(zip(names, np.ascontiguousarray(found.T), strict=True))

    def audited(self) -> list[int]:
        """Return the rows that a label is asked for."""
        share, batch_id = self.request.audit_share, self.request.batch_id
        rows = range(len(self.answers.prediction)) if share else ()
        return [row for row in rows if is_audited(row_id(batch_id, row), share)]


def _stored(runtime: Runtime, request: BatchRequest, rows: pa.RecordBatch, answers: ColumnAnswers) -> PredictionBatch:
    answered = _Answered(runtime, request, answers)
    return PredictionBatch.from_columns(
        request.batch_id,
        request.created_at,
        runtime.model,
        runtime.version,
        time.perf_counter() - request.started,
        features=rows.to_struct_array(),
        prediction=answers.prediction,
        score=None if answers.score is None else _array(answers.score),
        probabilities=_struct(answered.probabilities),
    )


def _arrow(answered: _Answered) -> bytes:
    """Write the columns ``prediction``, ``probabilities`` (a struct by class), and ``label_wanted`` if it is true."""
    import pyarrow as pa

    columns = {"prediction": answered.answers.prediction}
    if (probabilities := _struct(answered.probabilities)) is not None:
        columns["probabilities"] = probabilities
    if audited := answered.audited():
        wanted = np.zeros(len(answered.answers.prediction), dtype=bool)
        wanted[audited] = True
        columns["label_wanted"] = pa.array(wanted)
    metadata = {"batch_id": answered.request.batch_id, "model": orjson.dumps(answered.model)}
    table = pa.table(columns, metadata=metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _columns(answered: _Answered) -> bytes:
    prediction = answered.answers.prediction
    columns: dict[str, Any] = {
        "batch_id": answered.request.batch_id,
        "count": len(prediction),
        "predictions": _labels(answered) or prediction.to_numpy(zero_copy_only=False),
    }
    if answered.answers.probabilities is not None:
        columns["probabilities"] = {name: _doubles(values) for name, values in answered.probabilities.items()}
    if audited := answered.audited():
        columns["label_wanted"] = audited
    return orjson.dumps({**columns, "model": answered.model}, option=orjson.OPT_SERIALIZE_NUMPY)


def _rows(answered: _Answered) -> bytes:
    """Write an object for each row, from the texts of its parts, in a third of the time that objects would take."""
    n_rows = len(answered.answers.prediction)
    parts: list[Sequence[bytes]] = [
        [b'{"prediction_id":"%b#' % answered.request.batch_id.encode()] * n_rows,
        _row_numbers(n_rows),
        _prediction_texts(answered),
    ]
    separator = b',"probabilities":{'
    for name, values in answered.probabilities.items():
        parts += [[separator + orjson.dumps(name) + b":"] * n_rows, _texts(_doubles(values))]
        separator = b","
    end = b"}}" if answered.probabilities else b"}"
    ends = [end + b","] * (n_rows - 1) + [end]
    for row in answered.audited():
        ends[row] = ends[row].replace(end, end[:-1] + b',"label_wanted":true}')
    parts.append(ends)
    pieces = [b""] * (n_rows * len(parts))
    for position, part in enumerate(parts):
        pieces[position :: len(parts)] = part
    return b'{"predictions":[' + b"".join(pieces) + b'],"model":' + orjson.dumps(answered.model) + b"}"


@lru_cache(maxsize=4)
def _row_numbers(n_rows: int) -> Sequence[bytes]:
    """Return the last digits of the ids of rows."""
    return [row_id("", row)[1:].encode() for row in range(n_rows)]


def _prediction_texts(answered: _Answered) -> Sequence[bytes]:
    """Return the end of an id and the prediction of each row."""
    labels, codes = answered.runtime.schema.labels, answered.answers.codes
    before = b'","prediction":'
    if labels is None or codes is None:
        numbers = _texts(answered.answers.prediction.to_numpy(zero_copy_only=False))
        return [before + number for number in numbers]
    texts = [before + orjson.dumps(label) for label in labels]
    return [texts[code] for code in codes.tolist()]


def _labels(answered: _Answered) -> list[Any]:
    """Return the predicted labels; none for a regression."""
    labels, codes = answered.runtime.schema.labels, answered.answers.codes
    return [] if labels is None or codes is None else [labels[code] for code in codes.tolist()]


def _texts(numbers: npt.NDArray[Any]) -> Sequence[bytes]:
    """Return the JSON of numbers."""
    return orjson.dumps(numbers, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")


def _doubles(numbers: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return numbers in double precision, so that JSON has the same digits for a row and for a batch."""
    return numbers.astype(np.float64, copy=False)


def _struct(columns: dict[str, npt.NDArray[Any]]) -> pa.StructArray | None:
    import pyarrow as pa

    return pa.StructArray.from_arrays(list(map(_array, columns.values())), list(columns)) if columns else None


def _array(values: npt.NDArray[Any]) -> pa.Array:
    import pyarrow as pa

    return pa.array(values)


_WRITERS: dict[Form, Callable[[_Answered], bytes]] = {"rows": _rows, "columns": _columns, "arrow": _arrow}
