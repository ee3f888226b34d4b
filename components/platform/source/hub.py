"""Datasets of the Hugging Face hub, read row by row without a copy; the only module that imports `datasets`.

An address is `hf://datasets/OWNER/NAME[@REVISION][/CONFIG]/SPLIT`, such as
`hf://datasets/epfl-llm/guidelines@main/train`. Up to the revision it is the hub's own grammar
(`hf://datasets/OWNER/NAME@REVISION/path`), in which a `/` of a revision is written `%2F`, but for `refs/pr/N` and
`refs/convert/NAME`. Where the hub's grammar goes on with a file's path, this one names what `load_dataset` takes: a
config (may be left out where there is but one, or a default) and a split.

A revision that is left out is that of the main branch. Whatever it is, the commit it stands for now is what is read:
the address that `find` gives of a part is `hf://datasets/OWNER/NAME@COMMIT/CONFIG/SPLIT#K-of-N`, the Kth of the N
pieces that the dataset's files make. A private dataset needs HF_TOKEN.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from types import ModuleType
from typing import Any, BinaryIO

from components.platform.errors import InputError
from components.platform.source.stream import Pieces, binary_stream

BATCH_ROWS = 256  # rows that are fetched and converted at once
HUB_TIMEOUT_SECONDS = 60.0

# What text comes in. Of the other formats that the library reads, some hold pickles, run an engine of their own or
# name files to read besides.
FORMATS = ("arrow", "csv", "json", "parquet", "text")

_GRAMMAR = "hf://datasets/OWNER/NAME[@REVISION][/CONFIG]/SPLIT"
_PART = re.compile(r"(?P<dataset>.+)#(?P<number>\d+)-of-(?P<count>\d+)")
_SPLIT = re.compile(r"\w+(\.\w+)*")


@dataclass(frozen=True)
class Dataset:
    """What an address names; `revision` and `config` are None where it leaves them out."""

    id: str
    revision: str | None
    config: str | None
    split: str


@dataclass(frozen=True)
class Part:
    """A piece of a split: the address it was found by, its own, its size in bytes and its digest."""

    name: str
    uri: str
    bytes: int
    digest: str


def is_address(text: str) -> bool:
    return text.startswith("hf://")


def find(address: str) -> list[Part]:
    """The parts of a split, in their order: one for each file of it, as a rule.

    Raises:
        InputError: the address is not one, or names no dataset, revision, config or split that can be read.
    """
    dataset = parse(address)
    with _explained(address):
        commit = _commit(dataset)
        builder = _datasets().load_dataset_builder(**_source(dataset.id, commit), name=dataset.config)
        format_ = type(builder).__module__.split(".")[-1]
        if format_ not in FORMATS:
            raise InputError(f"{address}: files of format {format_}; expected one of {', '.join(FORMATS)}")
        config = builder.config.name
        rows = _rows(Dataset(dataset.id, commit, config, dataset.split))
        size = sum(map(_size, (builder.config.data_files or {}).get(dataset.split, [])))
    count = rows.num_shards
    uri = f"hf://datasets/{dataset.id}@{commit}/{config}/{dataset.split}"
    digest = f"hub:{commit}:{config}:{dataset.split}"
    parts = [f"{number:05}-of-{count:05}" for number in range(1, count + 1)]
    return [Part(f"{address}#{part}", f"{uri}#{part}", size // count, digest) for part in parts]


def open_rows(uri: str) -> BinaryIO:
    """The rows of a part as JSON lines; see `json_line` for what JSON has no form for.

    Reading raises:
        InputError: the dataset can't be had, or its files are not in order.
    """
    return binary_stream(_json_lines(uri))


def parse(address: str) -> Dataset:
    """What an address names.

    Raises:
        InputError: it does not follow the grammar.
    """
    from huggingface_hub.utils import parse_hf_uri

    try:
        uri = parse_hf_uri(address)
    except ValueError:
        raise InputError(f"{address}: expected {_GRAMMAR}") from None
    *config, split = uri.path_in_repo.split("/")
    if uri.type != "dataset" or len(config) > 1 or not _SPLIT.fullmatch(split):
        raise InputError(f"{address}: expected {_GRAMMAR}")
    return Dataset(uri.id, uri.revision, config[0] if config else None, split)


def json_line(row: dict[str, Any]) -> bytes:
    """A row as one line of JSON. Times are in ISO format; bytes are text if they are UTF-8, else base64."""
    import orjson

    return orjson.dumps(row, default=_plain, option=orjson.OPT_APPEND_NEWLINE)


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, datetime | date | time) else str(value)


def _json_lines(uri: str) -> Pieces:
    part = _PART.fullmatch(uri)
    with _explained(uri):
        rows = _rows(parse(part["dataset"])).shard(int(part["count"]), int(part["number"]) - 1)
        # Arrow tables: whole batches at once, and pictures and sounds are left as the bytes they are
        for table in rows.with_format("arrow").iter(BATCH_ROWS):
            yield b"".join(map(json_line, table.to_pylist()))


def _rows(dataset: Dataset) -> Any:
    return _datasets().load_dataset(
        **_source(dataset.id, dataset.revision), name=dataset.config, split=dataset.split, streaming=True
    )


def _commit(dataset: Dataset) -> str:
    """The commit that a dataset's revision stands for now."""
    from huggingface_hub import HfApi

    info = HfApi().dataset_info(dataset.id, revision=dataset.revision, timeout=HUB_TIMEOUT_SECONDS)
    return info.sha


def _source(dataset_id: str, commit: str) -> dict[str, str]:
    """How `load_dataset` is told which dataset to read."""
    return {"path": dataset_id, "revision": commit}


def _size(path: str) -> int:
    from fsspec.core import url_to_fs

    file_system, name = url_to_fs(path)
    return file_system.size(name) or 0


def _datasets() -> ModuleType:
    """The library, without progress bars and without counting downloads at its makers'."""
    import datasets
    import huggingface_hub

    datasets.disable_progress_bars()
    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False
    huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True
    return datasets


@contextmanager
def _explained(address: str) -> Iterator[None]:
    """Name the dataset where the libraries fail; they have no common error."""
    import httpx
    from datasets.exceptions import DatasetsError
    from huggingface_hub.errors import (
        GatedRepoError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except (RepositoryNotFoundError, GatedRepoError):
        raise InputError(
            f"{address}: no such dataset, or not for you: if it is private or gated, set HF_TOKEN"
        ) from None
    except RevisionNotFoundError:
        raise InputError(f"{address}: the dataset has no such revision") from None
    except (httpx.TransportError, OfflineModeIsEnabled) as error:
        raise InputError(
            f"{address}: the hub can't be reached ({type(error).__name__}); check the network, HF_ENDPOINT and "
            "HF_HUB_OFFLINE, and run again: finished work is kept"
        ) from None
    except (OSError, ValueError, RuntimeError, DatasetsError, httpx.HTTPError) as error:
        what = " ".join(str(error).splitlines()[:2])  # the second line lists the configs there are
        raise InputError(f"{address}: can't be read: {type(error).__name__}: {what}") from None
