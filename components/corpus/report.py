"""report.html: the corpus in plots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from components.corpus.datacard import GROUP_TITLES
from components.platform.report import Page, new_figure

MATCHES_SHOWN = 200
COLOURS = {"train": "#2f6f9f", "validation": "#e0a030"}


def page(
    figures: Mapping[str, Any],
    documents: pl.DataFrame,
    ledger: Sequence[Mapping[str, Any]],
    matches: Sequence[Mapping[str, Any]],
    profile: Mapping[str, Mapping[str, float]],
) -> str:
    """The page, as HTML.

    Args:
        figures: content of stats.json.
        documents: what was written, with the columns source, group, split, licence, tokens.
        ledger: content of ledger.json.
        matches: content of matches.jsonl.
        profile: content of profile.json.
    """
    page = Page("Corpus")
    total = figures["total"]
    page.text(
        f"{total['train']['documents']:,} documents with {total['train']['tokens']:,} tokens to train on, "
        f"{total['validation']['documents']:,} with {total['validation']['tokens']:,} held out; "
        f"vocabulary of {figures['vocab_size']:,}."
    )
    _sizes(page, figures)
    _lengths(page, documents)
    _drops(page, ledger)
    _contamination(page, matches)
    _profile(page, profile)
    return page.html()


def _sizes(page: Page, figures: Mapping[str, Any]) -> None:
    groups = list(figures["groups"])
    page.heading("Size")
    page.table(
        ("dataset", "train documents", "tokens", "share", "validation documents", "tokens", "characters per token"),
        [
            (
                GROUP_TITLES[group],
                splits["train"]["documents"],
                splits["train"]["tokens"],
                f"{figures['mixture'].get(group, 0):.2%}",
                splits["validation"]["documents"],
                splits["validation"]["tokens"],
                splits["train"]["characters"] / max(1, splits["train"]["tokens"]),
            )
            for group, splits in figures["groups"].items()
        ],
    )
    figure = new_figure(8, 0.8 + 0.5 * len(groups))
    axes = figure.subplots()
    left = np.zeros(len(groups))
    for split, colour in COLOURS.items():
        tokens = np.array([figures["groups"][group][split]["tokens"] for group in groups])
        axes.barh([GROUP_TITLES[group] for group in groups], tokens, left=left, color=colour, label=split)
        left += tokens
    axes.invert_yaxis()
    axes.set_xlabel("tokens")
    axes.legend()
    page.figure(figure, "Tokens of each dataset.")


def _lengths(page: Page, documents: pl.DataFrame) -> None:
    page.heading("Document lengths")
    edges = np.geomspace(1, max(10, documents["tokens"].max() or 0), 40)
    figure = new_figure(8, 3)
    axes = figure.subplots()
    for (group,), rows in documents.group_by("group", maintain_order=True):
        axes.hist(rows["tokens"], bins=edges, histtype="step", linewidth=1.5, label=GROUP_TITLES[group])
    axes.set_xscale("log")
    axes.set_xlabel("tokens in a document")
    axes.set_ylabel("documents")
    if documents.height:
        axes.legend()
    page.figure(figure, "How long documents are; an end-of-document token counts.")


def _drops(page: Page, ledger: Sequence[Mapping[str, Any]]) -> None:
    page.heading("From records to documents")
    page.table(
        ("source", "step", "rows in", "rows out", "dropped"),
        [
            (
                row["source"],
                row["step"],
                row["rows_in"],
                row["rows_out"],
                ", ".join(f"{count:,} {reason}" for reason, count in row["drops"].items()),
            )
            for row in ledger
        ],
    )
    drops = Counter[str]()
    for row in ledger:
        drops.update(row["drops"])
    if drops:
        reasons, counts = zip(*drops.most_common(), strict=True)
        figure = new_figure(8, 0.8 + 0.3 * len(reasons))
        axes = figure.subplots()
        axes.barh(reasons, counts, color=COLOURS["train"])
        axes.invert_yaxis()
        axes.set_xlabel("records")
        page.figure(figure, "Why records were left out.")


def _contamination(page: Page, matches: Sequence[Mapping[str, Any]]) -> None:
    page.heading("What matched an evaluation set")
    if not matches:
        page.text("Nothing.")
        return
    page.text(
        f"{len(matches):,} matches; the documents, and all others that are the same work, were left out. "
        f"{'The first of them:' if len(matches) > MATCHES_SHOWN else ''}"
    )
    page.table(
        ("benchmark", "item", "document", "rule", "overlap", "text"),
        [
            (match["benchmark"], match["item"], match["document"], match["rule"], match["overlap"], match["excerpt"])
            for match in matches[:MATCHES_SHOWN]
        ],
    )


def _profile(page: Page, profile: Mapping[str, Mapping[str, float]]) -> None:
    page.heading("Where the time went")
    total = sum(step["cpu_seconds"] for step in profile.values())
    page.table(
        ("step", "CPU seconds", "share", "MB of text per second"),
        [
            (
                name,
                step["cpu_seconds"],
                f"{step['cpu_seconds'] / total:.0%}",
                step["megabytes"] / max(step["cpu_seconds"], 1e-9),
            )
            for name, step in profile.items()
        ],
    )
