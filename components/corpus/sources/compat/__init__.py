"""What Meditron's released scripts make of their inputs, faults included, to compare a corpus with theirs.

A record's layout tells what it is: annotated full text, an abstract, or a guideline. The texts are final: they hold
structure tokens written out, so no later step may clean or escape them. Of the scripts only the formatting is
reproduced; languages, duplicates and splits are the business of later steps.
"""

from __future__ import annotations

from dataclasses import replace

from components.corpus import licence
from components.corpus.sources import abstracts, files, guidelines, s2orc
from components.corpus.sources.compat import full_text, guideline, plain
from components.corpus.sources.document import Document, RejectedError, content, mapping, optional, s2_identifiers

records = files.lines


def parse(payload: bytes) -> Document:
    """One record as Meditron's scripts leave it, its title apart (see `titles`).

    Raises:
        RejectedError: the line is no such record, or the scripts skip it, or nothing of its text is left.
    """
    row = files.json_object(payload)
    if "content" in row:
        body = mapping(row, "content")
        document = Document(
            title=optional(row, "title"),
            text=full_text.formatted(content(body, "text"), mapping(body, "annotations")),
            licence=licence.normalised(optional(s2orc.open_access(body), "license")),
            **s2_identifiers(row, mapping(row, "externalids")),
        )
    elif "abstract" in row:
        document = abstracts.parse(payload)
        document = replace(document, text=plain.cleaned(document.text))
    elif "text" in row or "clean_text" in row:
        document = guidelines.parse(payload)
        # What has `clean_text` only, as the published guidelines do, went through Meditron's cleaning already
        text = guideline.cleaned(document.text) if "text" in row else document.text
        document = replace(document, title="", text=text)
    else:
        raise RejectedError("missing_field", "expected `content`, `abstract`, `text` or `clean_text`")
    if not document.text.strip():
        raise RejectedError("empty_text", "nothing is left of the text")
    return document
