"""A real S3 server, started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import s3


@pytest.fixture(scope="session")
def bucket() -> Iterator[dict[str, str]]:
    """The variables of an S3 server with the bucket of .dvc/config."""
    try:
        with s3.running("ratchet") as where:
            yield where
    except s3.NoServerError as error:
        pytest.skip(f"no S3 server: {error}")
