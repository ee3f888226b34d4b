"""Meditron's formatting of annotated full text (`format_article` in gap-replay/pubmed/process.py), faults included."""

from __future__ import annotations

import re
from typing import Any

from components.corpus.sources.compat.allowance import Allowance
from components.corpus.sources.compat.labels import FORMULA, HEADING, TEXT, UNRESOLVED, labelled
from components.corpus.sources.compat.references import References

WORDS_OF_A_MAIN_SECTION = 3
# Reference fault: "acknowledgement" is not among them
_MAIN_SECTION = re.compile(
    r"abstract|introduction|background|related|method|material|result|analysis|discussion|conclusion|contribution"
    r"|statement|declaration|strength|limitation|future research|funding|disclosure|acknowledgment|ethical"
    r"|tables|figures|appendix"
)
_NAME_PUNCTUATION = re.compile(r"[:,()]")
_LAYOUT = (
    (re.compile(r"\n+"), r"\n"),
    (re.compile(r"\n(#{1,2} )"), r"\n\n\1"),
    (re.compile(r" +"), " "),
    (re.compile(r"(\[/(?:fig|bib)_ref\]) \."), r"\1."),
)


def formatted(text: str, annotations: dict[str, Any]) -> str:
    """A paper's text with structure tokens.

    Reference faults, beside those of `labels` and `references`: all text after the first figure or table is dropped;
    pieces lose the white space around them, so what stands around a formula or an id without an entry is glued
    together; of references that are unresolved nothing is left.

    Raises:
        RejectedError: the script skips the paper for its annotations, or they overlap beyond measure.
    """
    allowance = Allowance(len(text))
    references, figures = References(text, annotations, allowance), _Figures(allowance)
    parts: list[str] = []
    for label, start, end in labelled(text, annotations):
        part = text[start:end].strip().replace("•", "- ")
        if not part:
            continue
        if label == TEXT:
            written = "" if figures.begun else part
        elif label == HEADING:
            written = _heading(part)
        elif "fig_" in label or "tab_" in label:
            shown = references.figure(label)
            written = f" [fig_ref] {shown} [/fig_ref] " if shown else ""
        elif label == UNRESOLVED:
            written = " "
        elif "b" in label:
            work = references.work(label)
            written = f" [bib_ref] {work} [/bib_ref] " if work else ""
        elif "FIG_" in label or "TAB_" in label:
            written = figures.written(label, references)
        elif label == FORMULA:
            written = f"\n[formula] {part} [/formula]\n"
        else:
            written = ""
        allowance.take(len(written))
        parts.append(written)
    laid_out = "".join(parts)
    for pattern, replacement in _LAYOUT:
        laid_out = pattern.sub(replacement, laid_out)
    return laid_out


def _heading(title: str) -> str:
    title = title[0].upper() + title[1:].lower()
    main = len(title.split(" ")) <= WORDS_OF_A_MAIN_SECTION and _MAIN_SECTION.search(title.lower())
    return f"\n{'#' if main else '##'} {title}\n"


class _Figures:
    """The figures and tables of one paper, each written once."""

    def __init__(self, allowance: Allowance) -> None:
        self.begun = False
        self._allowance = allowance
        self._names: list[str] = []

    def written(self, label: str, references: References) -> str:
        """Reference fault: Figure 11 goes missing where Figure 1 stands before it, for the one name holds the other."""
        self.begun = True
        kind, number = label.split("_")[:2]
        name, caption = references.captioned(f"{kind.lower()}_{number}") or ("", "")
        if not name or not caption or "continued" in (name + caption).lower() or self._is_known(name.lower()):
            return ""
        self._names.append(_NAME_PUNCTUATION.sub("", name.strip().lower()))
        token = "fig" if "FIG_" in label else "table"
        return f"\n[{token}] {name}{caption} [/{token}]\n"

    def _is_known(self, name: str) -> bool:
        self._allowance.take(len(name) * len(self._names))
        return any(known in name for known in self._names)
