"""What a model has read: the corpora of its chain, added up. A whole run has one; each retraining adds what was new."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from components.platform.manifest import Manifest
from components.registry.lineage import SOURCES

LEDGER, STATS = "ledger.json", "stats.json"
CONTAMINATED = "contaminated_"


@dataclass(frozen=True)
class Source:
    """What was read of one source under one licence.

    Attributes:
        files: of the source, under whatever licence; one that several corpora were made from counts once.
    """

    name: str
    files: int
    licence: str
    documents: int
    tokens: int


@dataclass(frozen=True)
class Contamination:
    """What was kept out of the corpora.

    Attributes:
        searched: benchmarks whose items were looked for in all of them; none: there was no search.
        documents: how many were left out, by benchmark.
    """

    searched: tuple[str, ...]
    documents: dict[str, int]


def token_table(corpora: Sequence[Manifest]) -> dict[str, dict[str, dict[str, int]]]:
    """Group → split ("train", "validation") → "documents" and "tokens"."""
    table: dict[str, dict[str, Counter[str]]] = {}
    for corpus in corpora:
        for group, splits in corpus.read_json(STATS)["groups"].items():
            for split, counts in splits.items():
                table.setdefault(group, {}).setdefault(split, Counter()).update(counts)
    return {group: {split: dict(counts) for split, counts in splits.items()} for group, splits in table.items()}


def sources(corpora: Sequence[Manifest]) -> list[Source]:
    """In the order in which sources and licences turn up."""
    files, read = dict[str, set[str]](), dict[tuple[str, str], Counter[str]]()
    for corpus in corpora:
        for row in corpus.read_json(SOURCES):
            files.setdefault(row["source"], set()).update(row["files"])
            for counts in row["licences"]:
                of_licence = read.setdefault((row["source"], counts["licence"]), Counter())
                of_licence.update({name: counts[name] for name in ("documents", "tokens")})
    return [Source(name, len(files[name]), licence, **counts) for (name, licence), counts in read.items()]


def licence_tag(corpora: Sequence[Manifest]) -> dict[str, str]:
    """A tag with the licences of the documents, the one with most tokens first."""
    tokens = Counter[str]()
    for source in sources(corpora):
        tokens[source.licence] += source.tokens
    return {"corpus.licences": ", ".join(licence for licence, _ in tokens.most_common())}


def contamination(corpora: Sequence[Manifest]) -> Contamination:
    searched = [(corpus.made_by["settings"].get("decontaminate") or {}).get("benchmarks", ()) for corpus in corpora]
    in_all = tuple(name for name in searched[0] if all(name in names for names in searched))
    documents = Counter[str](dict.fromkeys(in_all, 0))
    for corpus in corpora:
        for row in corpus.read_json(LEDGER):
            for reason, count in row["drops"].items():
                if reason.startswith(CONTAMINATED):
                    documents[reason.removeprefix(CONTAMINATED)] += count
    return Contamination(in_all, dict(documents))
