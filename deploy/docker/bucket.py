#!/usr/bin/env python3
"""The bucket ``ratchet`` as a whole: ``bucket make | save | load``. Address and keys are those of ``AWS_*``.

``save`` writes a tar archive of all objects to standard output, ``load`` puts the objects of one back.
"""

import sys
import tarfile

import boto3
from botocore.exceptions import BotoCoreError, ClientError

BUCKET = "ratchet"


def make(client) -> None:
    """Make the bucket, unless it is there."""
    if BUCKET not in {found["Name"] for found in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=BUCKET)


def save(client) -> None:
    """Write every object to standard output; one that goes away meanwhile is an error."""
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
            for listed in page.get("Contents", ()):
                if listed["Key"].endswith("/"):
                    continue
                found = client.get_object(Bucket=BUCKET, Key=listed["Key"])
                entry = tarfile.TarInfo(listed["Key"])
                entry.size, entry.mtime = found["ContentLength"], int(found["LastModified"].timestamp())
                archive.addfile(entry, found["Body"])


def load(client) -> None:
    """Put the objects of standard input into the bucket; what is there under another name stays."""
    make(client)
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
        for entry in archive:
            content = archive.extractfile(entry)
            if content is not None:
                client.upload_fileobj(_Whole(content), BUCKET, entry.name)


class _Whole:
    """A part of a stream that can be read and not sought, which is all that an upload needs."""

    def __init__(self, content) -> None:
        self.read = content.read


if __name__ == "__main__":
    try:
        {"make": make, "save": save, "load": load}[sys.argv[1]](boto3.client("s3"))
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"bucket {sys.argv[1]}: {error}")
