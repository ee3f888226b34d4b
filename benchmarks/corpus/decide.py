"""`python -m benchmarks.corpus.decide`: memory and time of the decisions, the one step over all documents at once.

For each number of documents it writes made-up indexes, decides on them in a process of its own, and prints a table:
bytes per document are those above what a process with few documents takes. Nothing is written that outlives it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.corpus.measure import Usage, measured
from benchmarks.corpus.table import table
from components.corpus import decide, identify
from components.corpus.index import INDEX, Index
from components.corpus.settings import CorpusSettings
from components.corpus.words import combined
from components.platform.manifest import Manifest

FEW = 1000  # documents; what these take is the process itself
SHARD_DOCUMENTS = 250_000
BYTES_PER_PAIR = 16  # of documents that share a key: two int64 (`dedup`)

# One document in five has an identifier of an earlier one, as abstracts of papers have; one in forty is a near copy
SAME_WORK, NEAR_COPY = 1 / 5, 1 / 40
HAVE = {"pmid": 0.9, "pmcid": 0.3, "doi": 0.8, "corpusid": 0.6, "text": 1.0}  # share of documents with each key
CONTAMINATED = 1e-4

SETTINGS = CorpusSettings.model_validate(
    {
        "tokenizer": {"path": "none"},
        "decontaminate": {"benchmarks": ["pubmedqa"]},
        "sources": [{"name": "papers", "group": "papers", "format": "jats", "paths": ["none"]}],
    }
)


@dataclass(frozen=True)
class Decided:
    """Decisions on made-up documents: how many, pairs of neighbours that share a key, and what it cost."""

    documents: int
    pairs: int
    usage: Usage


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.corpus.decide", description=__doc__.splitlines()[0])
    parser.add_argument("--millions", type=float, nargs="+", default=[1, 4, 16], help="documents (1 4 16)")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder:
        decide_in(arguments.folder)
        return
    base = run(FEW)
    print("\n".join(markdown(base, [run(round(millions * 1e6)) for millions in arguments.millions])))


def run(documents: int) -> Decided:
    """Make indexes, and decide on them in another process."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        shards = write_indexes(folder, documents)
        usage = measured([sys.executable, "-m", __spec__.name, "--folder", name], folder / "log.txt", {})
        return Decided(documents, _pairs(Index([shard / INDEX for shard in shards])), usage)


def markdown(base: Decided, runs: Sequence[Decided]) -> list[str]:
    """The table.

    Args:
        base: so few documents that they take nothing.
    """
    rows = []
    for run in runs:
        above = run.usage.peak_bytes - base.usage.peak_bytes
        rows.append(
            (
                f"{run.documents:,}",
                f"{run.pairs:,}",
                f"{run.usage.peak_bytes / 1e6:,.0f}",
                f"{above / run.documents:.0f}",
                f"{(above - BYTES_PER_PAIR * run.pairs) / run.documents:.0f}",
                f"{run.usage.cpu_seconds:.1f}",
            )
        )
    pairs = f"bytes per document without {BYTES_PER_PAIR} per pair"
    return table(("documents", "pairs", "peak MB", "bytes per document", pairs, "CPU seconds"), rows)


def write_indexes(folder: Path, documents: int) -> list[Path]:
    """Write indexes of so many documents, in shards; returns their folders. The same number gives the same bytes."""
    rng = np.random.default_rng(0)
    works, clusters = (_joined(documents, share, rng) for share in (SAME_WORK, NEAR_COPY))
    shards = []
    for start in range(0, documents, SHARD_DOCUMENTS):
        rows = slice(start, start + SHARD_DOCUMENTS)
        shards.append(folder / f"shard-{len(shards):05}")
        shards[-1].mkdir()
        pl.DataFrame(dict(_columns(works[rows], clusters[rows], rng))).write_parquet(shards[-1] / INDEX)
    return shards


def decide_in(folder: Path) -> None:
    """What the stage does with the indexes of all shards; the tokenizer is left out."""
    decisions = decide.Decisions(SETTINGS, [shard(path) for path in sorted(folder.glob("shard-*"))])
    decisions.make()
    (folder / "out").mkdir()
    decisions.write(folder / "out")


def _joined(documents: int, share: float, rng: np.random.Generator) -> npt.NDArray[np.uint64]:
    """A number for each document, shape (documents,): its own, or for a share of them that of another one."""
    numbers = np.arange(documents, dtype=np.uint64)
    others = rng.integers(0, documents, documents, dtype=np.uint64)
    return np.where(rng.random(documents) < share, others, numbers)


def _columns(
    works: npt.NDArray[np.uint64], clusters: npt.NDArray[np.uint64], rng: np.random.Generator
) -> Iterator[tuple[str, pl.Series]]:
    """The columns of an index. A document has one key of a kind by its work, those of its text by its near copies."""
    yield "key", _keys("key", works)
    for name in identify.KEYS:
        keys = _keys(name, clusters if name == "text" else works)
        yield f"key_{name}", _where(rng.random(len(works)) < HAVE[name], keys)
    for band in range(SETTINGS.near_duplicates.bands):
        yield f"band_{band:02}", _keys(f"band_{band}", clusters)
    yield "characters", pl.Series(rng.integers(1_000, 30_000, len(works), dtype=np.uint32))
    found = pl.repeat(SETTINGS.decontaminate.benchmarks[0], len(works), dtype=pl.String, eager=True)
    yield "contaminated", _where(rng.random(len(works)) < CONTAMINATED, found)


def _keys(kind: str, numbers: npt.NDArray[np.uint64]) -> pl.Series:
    """64-bit keys that look random, those of equal numbers equal; others for each kind."""
    return pl.Series(combined([numbers, np.full_like(numbers, identify.key(kind))]))


def _where(mask: npt.NDArray[np.bool_], values: pl.Series) -> pl.Series:
    return pl.select(pl.when(pl.Series(mask)).then(values)).to_series()


def shard(folder: Path) -> Manifest:
    """The prepared shard that a folder of `write_indexes` stands for."""
    number = int(folder.name.rpartition("-")[2])
    metadata = {"source": "papers", "shard": number, "deleted_pmids": []}
    return Manifest.of_folder("corpus-shard", folder, metadata=metadata)


def _pairs(index: Index) -> int:
    """Pairs of neighbours that share a key, over all keys: documents that have it, less different values."""
    names = [*(f"key_{name}" for name in identify.KEYS), *index.bands]
    columns = map(index.column, names)
    return sum(column.count() - column.drop_nulls().n_unique() for column in columns)


if __name__ == "__main__":
    main()
