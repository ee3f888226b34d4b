"""Objects on S3: listed, read as streams, and deleted.

Requests that fail in passing (5xx, SlowDown, broken connections) are repeated; what stays wrong is an InputError that
names the object. Endpoint and credentials come from the usual AWS environment variables.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cache, partial
from typing import Any, BinaryIO

from components.platform.errors import InputError
from components.platform.source import globs, ranged
from components.platform.source.s3_errors import explanation
from components.platform.storage.location import Found, bucket_and_key, join

REQUEST_ATTEMPTS = 8  # with waits that double up to 20 seconds: about a minute of trouble is sat out
READ_TIMEOUT_SECONDS = 60.0
CONNECTIONS = 32  # kept open: more than all that a transfer, or readers of a few files, have at once
PIECE_BYTES = 1 << 18  # what is lost of an answer that breaks off


def open_object(location: str, size: int, etag: str) -> BinaryIO:
    """The bytes of an S3 object as it was when it was listed, as a stream.

    Reading raises:
        InputError: the object was replaced since, or S3 does not give it, however often it is asked.
    """
    return ranged.stream(location, partial(_fetch, location, etag), size)


def opened(location: str, head: Mapping[str, Any]) -> BinaryIO:
    """The bytes of an object as it was when `head` was asked for, as a stream."""
    return open_object(location, head["ContentLength"], head["ETag"].strip('"'))


def _fetch(location: str, etag: str, start: int, end: int) -> Iterator[bytes]:
    """One request for a range (see `ranged.Fetch`)."""
    from botocore.exceptions import BotoCoreError
    from urllib3.exceptions import HTTPError

    bucket, key = bucket_and_key(location)
    with explained(location):
        answer = client().get_object(Bucket=bucket, Key=key, IfMatch=f'"{etag}"', Range=f"bytes={start}-{end - 1}")
    with closing(answer["Body"]) as body:
        if answer["ContentLength"] != end - start:
            raise ranged.BrokenOffError(f"{answer['ContentLength']} bytes for the {end - start} asked for")
        try:
            while piece := body.read(PIECE_BYTES):
                yield piece
        except (BotoCoreError, HTTPError, OSError) as error:
            raise ranged.BrokenOffError(type(error).__name__) from None


def listed(root: str, pattern: str) -> Iterator[Found]:
    """Objects that match a glob below `root`, named from there."""
    bucket, base = bucket_and_key(root.rstrip("/"))
    base = f"{base}/" if base else ""
    with explained(join(root, pattern)):
        pages = client().get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=bucket, Prefix=base + globs.fixed_part(pattern)):
            for item in page.get("Contents", []):
                name = item["Key"].removeprefix(base)
                if not globs.matches(name, pattern) or name.endswith("/"):  # "folders" that consoles make
                    continue
                if ".." in name.split("/"):  # a copy of it would lie outside of the folder for copies
                    raise InputError(f"s3://{bucket}/{item['Key']}: expected a name without ..; rename it")
                yield Found(name, f"s3://{bucket}/{item['Key']}", item["Size"], item["ETag"].strip('"'))


def head(location: str) -> Mapping[str, Any] | None:
    """What S3 says of an object; None when it is not there."""
    from botocore.exceptions import ClientError

    bucket, key = bucket_and_key(location)
    with explained(location):
        try:
            return client().head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchKey"):
                raise
    return None


def delete(locations: Sequence[str]) -> None:
    """Delete objects; one that is gone already is no error.

    One request each: S3's request for many tells of failures in its answer, where nothing repeats them.
    """
    for location in locations:
        bucket, key = bucket_and_key(location)
        with explained(location):
            client().delete_object(Bucket=bucket, Key=key)


@contextmanager
def explained(location: str) -> Iterator[None]:
    """Turn errors of a request into an InputError without a trace of the request, which holds credentials."""
    from botocore import exceptions as boto

    try:
        yield
    except boto.ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        raise InputError(f"{location}: {explanation(error.response['Error']['Code'], status)}") from None
    except (boto.NoCredentialsError, boto.PartialCredentialsError):
        raise InputError(f"{location}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from None
    except boto.ParamValidationError:
        raise InputError(f"{location}: expected an address such as s3://bucket/folder/name") from None
    except boto.BotoCoreError as error:
        raise InputError(
            f"{location}: S3 can't be reached or breaks off ({type(error).__name__}); check AWS_ENDPOINT_URL and the "
            "network, and run again: finished work is kept"
        ) from None


def client() -> Any:
    """The client of this process, for all its threads."""
    with _one_at_a_time:
        return _made_client()


@cache
def _made_client() -> Any:
    # Imported here: a run on plain files needs neither boto3 nor its start-up time.
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": REQUEST_ATTEMPTS},
        connect_timeout=10,
        read_timeout=READ_TIMEOUT_SECONDS,
        max_pool_connections=CONNECTIONS,
    )
    try:
        return boto3.client("s3", config=config)
    except ValueError:
        raise InputError("AWS_ENDPOINT_URL: expected an address with its scheme, such as http://host:9000") from None


def forget_client() -> None:
    """Let the next request read the environment anew."""
    with _one_at_a_time:  # else a client that is being made right now would be kept after all
        _made_client.cache_clear()


# A client serves many threads, but boto3 can't make one in several at once
_one_at_a_time = threading.Lock()
os.register_at_fork(
    before=_one_at_a_time.acquire, after_in_parent=_one_at_a_time.release, after_in_child=_one_at_a_time.release
)
os.register_at_fork(after_in_child=_made_client.cache_clear)  # two processes must not talk over one connection
