"""The text that is trained on, and the keys by which later steps know a document."""

from __future__ import annotations

import hashlib

import polars as pl

from components.corpus.batch import IDENTIFIERS, Drops

KEYS = (*IDENTIFIERS, "text")
"""What makes two documents the same work: any identifier, or the text (`fingerprint`)."""

TITLE_SEPARATOR = {"abstracts": "\n"}  # as in the reference: elsewhere a blank line stands after the title


def identify(batch: pl.DataFrame) -> tuple[pl.DataFrame, Drops]:
    """Put the title in front of the text, and add the columns `id`, `key` and `key_<name>` for each identifier.

    `id` names the work itself ("pmid:29768149"; a hash of the text where there is no identifier), so it does not
    depend on the source, file or position the document was read from; `key` is its hash.
    """
    separator = pl.col("group").replace_strict(TITLE_SEPARATOR, default="\n\n", return_dtype=pl.String)
    titled = pl.concat_str("title", separator, "text")
    batch = batch.with_columns(text=pl.when(pl.col("title") == "").then("text").otherwise(titled))
    names = {name: pl.format(f"{name}:{{}}", name) for name in IDENTIFIERS}
    nameless = pl.all_horizontal(pl.col(name).is_null() for name in IDENTIFIERS)
    of_text = pl.when(nameless).then("text").map_elements(_digest, return_dtype=pl.String)
    batch = batch.with_columns(id=pl.coalesce(*names.values(), pl.format("text:{}", of_text)))
    keys = {"key": pl.col("id")} | {f"key_{name}": names[name] for name in names}
    hashed = {name: text.map_elements(key, return_dtype=pl.UInt64) for name, text in keys.items()}
    return batch.with_columns(**hashed), {}


def key(text: str) -> int:
    """64 bits of BLAKE2b: the same on every machine and in every version.

    Among 2^25 documents, more than GAP-Replay has, two different texts get the same key with probability 3e-5.
    """
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
