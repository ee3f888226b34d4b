"""Proof that no item of an evaluation set is left in the finished corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from components.corpus.settings import Decontaminate

CONTAMINATION = "contamination.json"


def left_over(
    folder: Path, settings: Decontaminate | None, matches: Iterable[Mapping[str, Any]]
) -> dict[str, dict[str, int]]:
    """The content of contamination.json.

    Args:
        folder: the finished corpus; its documents are read again, whatever was decided about them.
        matches: content of matches.jsonl: what held an item when it was looked for.

    Returns:
        By benchmark that was looked for: `matches`, and `documents_left`, those in the corpus that are among them.
    """
    held: dict[str, set[str]] = {name: set() for name in (settings.benchmarks if settings else ())}
    found = Counter[str]()
    for match in matches:
        held[match["benchmark"]].add(match["document"])
        found[match["benchmark"]] += 1
    suspects = pl.Series(sorted(set().union(*held.values())), dtype=pl.String)
    left = Counter[str]()
    for file in sorted((folder / "documents").glob("*/*.parquet")):
        ids = pl.scan_parquet(file).filter(pl.col("id").is_in(suspects.implode())).select("id").collect()["id"]
        left.update(ids.to_list())
    return {
        name: {"matches": found[name], "documents_left": sum(left[document] for document in documents)}
        for name, documents in held.items()
    }
