"""Parquet files that do not fit in memory.

``ingest`` makes one pass over a file and returns its schema and a sample of each part. Rows, types and schema equal
those of a file that is read whole.
"""

from ratchet.data.batches.reader import BatchedFile
from ratchet.data.batches.scan import Ingested, ingest

__all__ = ["BatchedFile", "Ingested", "ingest"]
