"""Clinical guidelines as JSONL: `source`, `title`, `text` (or `clean_text`), and optionally `copyright`."""

from __future__ import annotations

from components.corpus import licence
from components.corpus.sources import files
from components.corpus.sources.document import Document, content, optional

records = files.lines


def parse(payload: bytes) -> Document:
    """One guideline; its text is Markdown already.

    Raises:
        RejectedError: the line is not a JSON object with a text.
    """
    row = files.json_object(payload)
    text = content(row, "clean_text" if "clean_text" in row and "text" not in row else "text")
    terms = optional(row, "licence") or optional(row, "license") or optional(row, "copyright")
    return Document(optional(row, "title"), text, licence.normalised(terms))
