"""From the shards to the corpus: Parquet documents and Megatron token files by split and group.

Nothing here depends on where shards were cut: rows and tokens are copied in the order of the sources and their
files, in row groups of a fixed size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from components.corpus import mixture
from components.corpus.batch import KEPT, SCHEMA
from components.corpus.settings import CorpusSettings
from components.corpus.stats import SPLITS
from components.corpus.tables import TableWriter, row_groups
from components.platform.indexed import IndexedDataset, IndexedWriter

ROW_GROUP = 256  # documents: a row group of papers is some 10 MB of text
COPIED_AT_ONCE = 256  # documents, of which the tokens
DECIDED = {"split": pl.String, "tokens": pl.Int32, "copies": pl.UInt8}
EMPTY = pl.DataFrame(schema={name: SCHEMA.get(name, pl.String) for name in KEPT} | DECIDED)


@dataclass
class Part:
    """One shard on its way into the corpus.

    Attributes:
        source: name of its source.
        group: row of the paper's Table 1 that it counts towards.
        documents: Parquet file.
        tokens: token files by split; a split without documents has none.
        rows: a row for each document: `split` (null when it is out), `tokens`, `copies`, and `place`, its number in
            the token file of its split.
    """

    source: str
    group: str
    documents: Path
    tokens: dict[str, IndexedDataset]
    rows: pl.DataFrame

    @classmethod
    def of(cls, source: str, group: str, documents: Path, tokens: Path, decisions: Path) -> Part:
        """From the files that earlier steps wrote (`tokens` is a folder)."""
        data = {split: IndexedDataset(tokens / split) for split in SPLITS if (tokens / f"{split}.idx").exists()}
        decided = pl.read_parquet(decisions)
        split = pl.when("held_out").then(pl.lit("validation")).otherwise(pl.lit("train"))
        rows = decided.select("copies", split=pl.when(pl.col("dropped").is_null()).then(split))
        place = pl.int_range(pl.len()).over("split")
        lengths = np.zeros(rows.height, dtype=np.int32)
        for name, dataset in data.items():
            lengths[(rows["split"] == name).fill_null(False).to_numpy()] = dataset.lengths
        return cls(source, group, documents, data, rows.with_columns(place=place, tokens=pl.Series(lengths)))

    def documents_in(self) -> int:
        """How many of its documents are in the corpus."""
        return self.rows["split"].count()

    def train_tokens(self) -> int:
        """Tokens that are trained on, repetitions included."""
        train = self.rows.filter(pl.col("split") == "train")
        return int((train["tokens"].cast(pl.Int64) * train["copies"]).sum())


def mix(parts: Sequence[Part], indexes: Sequence[Path], settings: CorpusSettings) -> None:
    """Take surplus documents of replay out of `parts`.

    Args:
        indexes: index of each part, of which the column `key` is read for replay.
    """
    others = sum(part.train_tokens() for part in parts if part.group != "replay")
    replay = [(part, path) for part, path in zip(parts, indexes, strict=True) if part.group == "replay"]
    if not replay:
        return
    training = [(part.rows["split"] == "train").fill_null(False) for part, _ in replay]
    hashes = [pl.read_parquet(path, columns=["key"])["key"] for _, path in replay]
    chosen = mixture.replayed(
        pl.concat([key.filter(mask) for key, mask in zip(hashes, training, strict=True)]).to_numpy(),
        pl.concat(
            [part.rows["tokens"].filter(mask) for (part, _), mask in zip(replay, training, strict=True)]
        ).to_numpy(),
        others,
        settings.replay_share,
        settings.seed,
    )
    start = 0
    for (part, _), mask in zip(replay, training, strict=True):
        stays = np.ones(mask.len(), dtype=bool)
        stays[mask.to_numpy()] = chosen[start : start + mask.sum()]
        start += mask.sum()
        part.rows = part.rows.with_columns(split=pl.when(pl.Series(stays)).then("split"))


def write(folder: Path, group: str, parts: Sequence[Part]) -> None:
    """Write one group: `documents/<split>/<group>.parquet` and `tokens/<split>/<group>.{bin,idx}`."""
    present = [split for split in SPLITS if any(split in part.rows["split"] for part in parts)]
    with ExitStack() as files:
        tables = {
            split: files.enter_context(TableWriter(folder / "documents" / split / f"{group}.parquet", EMPTY, ROW_GROUP))
            for split in present
        }
        for part in parts:
            start = 0
            for documents in row_groups(part.documents):
                frame = pl.concat([documents, part.rows[start : start + documents.height]], how="horizontal")
                start += documents.height
                for split, table in tables.items():
                    table.write(frame.filter(pl.col("split") == split).select(EMPTY.columns))
    for split in present:
        dtype = next(part.tokens[split].dtype for part in parts if split in part.tokens)
        with IndexedWriter(folder / "tokens" / split / group, dtype) as writer:
            for part in parts:
                chosen = part.rows.filter(pl.col("split") == split)
                places = np.repeat(chosen["place"].to_numpy(), chosen["copies"].to_numpy())
                for first, count in _runs(places):
                    writer.add_many(*part.tokens[split].run(first, count))


def _runs(places: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Runs of consecutive numbers as (first, length), none longer than what is copied at once."""
    cuts = np.flatnonzero(np.diff(places) != 1) + 1
    for run in np.split(places, cuts):
        for start in range(0, run.size, COPIED_AT_ONCE):
            yield int(run[start]), min(COPIED_AT_ONCE, run.size - start)
