"""Read a Parquet file that does not fit in memory in batches.

``scan`` makes one pass over the file and returns the schema and a sample of each part. The rows, types and schema equal
those of a file that is read whole.
"""

from ratchet.data.batches.reader import BatchedFile
from ratchet.data.batches.scan import Ingested, ingest

__all__ = ["BatchedFile", "Ingested", "ingest"]
