"""Figures of the finished corpus, counted from the files that were written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from components.corpus import mixture
from components.platform.indexed import IndexedDataset

SPLITS = ("train", "validation")


def counted(folder: Path, groups: Sequence[str]) -> dict[str, dict[str, dict[str, int]]]:
    """Documents, tokens and characters by group and split, repetitions included: the paper's Table 1.

    Raises:
        RuntimeError: the Parquet and token files of a group hold different numbers of documents or tokens.
    """
    return {group: {split: _counted(folder, split, group) for split in SPLITS} for group in groups}


def _counted(folder: Path, split: str, group: str) -> dict[str, int]:
    path = folder / "documents" / split / f"{group}.parquet"
    if not path.exists():
        return {"documents": 0, "tokens": 0, "characters": 0}
    tokens = IndexedDataset(folder / "tokens" / split / group)
    copies = pl.col("copies").cast(pl.Int64)
    sizes = {
        "documents": copies,
        "tokens": pl.col("tokens") * copies,
        "characters": pl.col("text").str.len_chars() * copies,
    }
    totals = [total.sum().alias(name) for name, total in sizes.items()]
    figures = pl.scan_parquet(path).select(totals).collect().row(0, named=True)
    if (figures["documents"], figures["tokens"]) != (len(tokens), tokens.num_tokens):
        raise RuntimeError(
            f"{path} has {figures['documents']} documents of {figures['tokens']} tokens, "
            f"but its token file has {len(tokens)} of {tokens.num_tokens}"
        )
    return figures


def written(folder: Path) -> pl.DataFrame:
    """All written documents, without their text: the columns source, group, split, licence, tokens."""
    files = sorted((folder / "documents").glob("*/*.parquet"))
    columns = {"source": pl.String, "group": pl.String, "split": pl.String, "licence": pl.String, "tokens": pl.Int32}
    return pl.scan_parquet(files).select(list(columns)).collect() if files else pl.DataFrame(schema=columns)


def origins(documents: pl.DataFrame, files: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """The content of sources.json: of each source its files, and what was written of it under which licence.

    Args:
        documents: as `written` gives them.
        files: by source, in the recipe's order, the names of its files.
    """
    counted = documents.group_by("source", "licence").agg(documents=pl.len(), tokens=pl.col("tokens").sum())
    return [
        {
            "source": source,
            "licences": counted.filter(source=source).drop("source").sort("licence").to_dicts(),
            "files": list(names),
        }
        for source, names in files.items()
    ]


def statistics(counts: dict[str, dict[str, dict[str, int]]], vocab_size: int) -> dict[str, Any]:
    """The content of stats.json."""
    train = {group: splits["train"]["tokens"] for group, splits in counts.items()}
    total = {split: _sum([splits[split] for splits in counts.values()]) for split in SPLITS}
    return {"groups": counts, "total": total, "mixture": mixture.weights(train), "vocab_size": vocab_size}


def _sum(rows: list[dict[str, int]]) -> dict[str, int]:
    return {name: sum(row[name] for row in rows) for name in ("documents", "tokens", "characters")}
