"""Cleaning: one Unicode form, no invisible characters, orderly white space, and no token of ours in raw text.

Nothing here judges content: `p < 0.05` and `[18F]FDG` come out as they went in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from components.corpus import markup
from components.corpus.batch import Drops

_LINE_ENDS = "\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]"
# Control characters; soft hyphen, zero-width space, word joiner and byte order mark; noncharacters other than marks
_INVISIBLE = "[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u200b\u2060\ufeff\ufffe\uffff]"
_INLINE = ("bib_ref", "fig_ref")
# All that NFC may change: marks, Indic and Hangul letters, and the characters that stand for others. Few texts have any
# of them, and looking for them takes a tenth of the time that normalising does.
_NOT_YET_NFC = (
    r"[\p{M}\u0374\u037e\u0387\u0900-\u0fff\u1100-\u11ff\u1f71-\u1fff\u2000\u2001\u2126\u212a\u212b\u2329\u232a\u2adc"
    r"\uf900-\ufaff\ufb1d-\ufb4e\U0001d100-\U0001d1ff\U0002f800-\U0002fa1d]"
)


@dataclass(frozen=True)
class Clean:
    """The cleaning step.

    Args:
        reserved: tokens that raw text must not contain; a space after their first character breaks them up.
        keep_layout: leave indentation and blank lines as they are (text to replay holds code).
    """

    reserved: tuple[str, ...]
    keep_layout: bool

    def __call__(self, batch: pl.DataFrame) -> tuple[pl.DataFrame, Drops]:
        """Clean titles and texts; put the structure tokens where the readers put marks. Drops nothing."""
        batch = batch.with_columns(_composed(batch["text"]), _composed(batch["title"]))
        text, title = _visible(pl.col("text")), _visible(pl.col("title"))
        for pattern, replacement in escapes(self.reserved):
            text = text.str.replace_all(pattern, replacement)
            title = title.str.replace_all(pattern, replacement)
        text = _marks_to_tokens(text)
        text = text.str.replace_all("[ \t]+\n", "\n") if self.keep_layout else _orderly(text)
        title = title.str.replace_all(r"\s+", " ")
        return batch.with_columns(text.str.strip_chars("\n ").alias("text"), title.str.strip_chars().alias("title")), {}


def escapes(tokens: Iterable[str]) -> list[tuple[str, str]]:
    """Regular expression and replacement for each first character of `tokens`: "[fig]" becomes "[ fig]"."""
    by_first: dict[str, list[str]] = {}
    for token in sorted(set(tokens)):
        by_first.setdefault(token[0], []).append(re.escape(token[1:]))
    return [(f"{re.escape(first)}({'|'.join(rest)})", f"{first} ${{1}}") for first, rest in by_first.items()]


def _composed(texts: pl.Series) -> pl.Series:
    """Texts in Unicode's form NFC. Nothing composes with a line break, so only the lines that need it are worked on."""
    rows = texts.str.contains(_NOT_YET_NFC).arg_true()
    if not len(rows):
        return texts
    lines = pl.DataFrame({"row": rows, "line": texts.gather(rows).str.split("\n")}).explode("line")
    some = lines["line"].str.contains(_NOT_YET_NFC).arg_true()
    normal = lines["line"].scatter(some, lines["line"].gather(some).str.normalize("NFC"))
    joined = lines.with_columns(line=normal).group_by("row", maintain_order=True).agg(pl.col("line").str.join("\n"))
    return texts.scatter(rows, joined["line"])


def _visible(text: pl.Expr) -> pl.Expr:
    return text.str.replace_all(_LINE_ENDS, "\n").str.replace_all(_INVISIBLE, "")


def _marks_to_tokens(text: pl.Expr) -> pl.Expr:
    """Each token stands apart from its neighbours by a space; figures, tables and formulas are on their own line."""
    marks = [mark for kind in markup.KINDS for mark in (markup.OPEN[kind], markup.CLOSE[kind])]
    return text.str.replace_many(marks, [f" {markup.MARKS[mark]} " for mark in marks])


def _orderly(text: pl.Expr) -> pl.Expr:
    inline = "|".join(_INLINE)
    return (
        text.str.replace_all(r"[^\S\n ]", " ")
        .str.replace_all(" {2,}", " ")
        .str.replace_all(r" \n ?|\n ", "\n")
        .str.replace_all(r"\n{3,}", "\n\n")
        .str.replace_all(rf"(\[/(?:{inline})\]) ([.,;:)\]])", "${1}${2}")
        .str.replace_all(rf"([(\[]) (\[(?:{inline})\])", "${1}${2}")
    )
