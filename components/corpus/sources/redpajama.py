"""General text to replay, as JSONL in RedPajama's schema: `text`, and `meta` (an object, or JSON in a string)."""

from __future__ import annotations

from typing import Any

import orjson

from components.corpus import licence
from components.corpus.sources import files
from components.corpus.sources.document import Document, content, mapping, optional

records = files.lines


def parse(payload: bytes) -> Document:
    """One document, which has no title.

    Raises:
        RejectedError: the line is not a JSON object with a text.
    """
    row = files.json_object(payload)
    text = content(row, "text")
    meta = _meta(row)
    return Document("", text, licence.normalised(optional(meta, "license") or optional(meta, "licence")))


def _meta(row: dict[str, Any]) -> dict[str, Any]:
    """RedPajama-v1 shards differ: some hold the object, some hold it as a string of JSON or of Python."""
    if not isinstance(row.get("meta"), str):
        return mapping(row, "meta")
    try:
        meta = orjson.loads(row["meta"])
    except orjson.JSONDecodeError:
        return {}
    return meta if isinstance(meta, dict) else {}
