"""Data larger than memory: a Parquet file read in batches, by everything that has to see all of its rows.

``scan`` passes over the file once and keeps the schema and two samples; ``embedder`` passes over the training part
and keeps means, ranges and one covariance matrix; ``training`` passes over it again, as often as the config says, with
``partial_fit``. What comes out is what comes out of a file that is read whole: typed rows, a schema, and one pipeline.
"""

from ratchet.batches.embedder import fit_embedder
from ratchet.batches.reader import BatchedFile
from ratchet.batches.scan import Ingested, ingest, load_parts
from ratchet.batches.training import fit_model, require_partial_fit

__all__ = ["BatchedFile", "Ingested", "fit_embedder", "fit_model", "ingest", "load_parts", "require_partial_fit"]
