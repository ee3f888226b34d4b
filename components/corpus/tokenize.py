"""One shard from documents to tokens: of those that are in, one token file for each split."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import orjson
import polars as pl

from components.corpus.encoder import Encoder
from components.corpus.stats import SPLITS
from components.corpus.tables import row_groups
from components.platform.indexed import IndexedWriter
from components.platform.manifest import PROFILE_NAME


def tokenize(documents: Path, decisions: pl.DataFrame, encoder: Encoder, folder: Path) -> dict[str, int]:
    """Write `<split>.bin` and `<split>.idx` into `folder`, of the documents that are in, in their order.

    Args:
        documents: Parquet file of the shard.
        decisions: a row for each of its documents, with the columns `dropped` and `held_out`.

    Returns:
        Tokens of each split.
    """
    split = pl.when("held_out").then(pl.lit("validation")).otherwise(pl.lit("train"))
    splits = decisions.select(split=pl.when(pl.col("dropped").is_null()).then(split))["split"]
    tokens = dict.fromkeys(SPLITS, 0)
    characters, started = 0, time.process_time()
    with ExitStack() as open_files:
        present = [split for split in SPLITS if split in splits]  # Megatron can't map a file without tokens
        writers = {split: open_files.enter_context(IndexedWriter(folder / split, encoder.dtype)) for split in present}
        start = 0
        for group in row_groups(documents, ["text"]):
            here = splits[start : start + group.height]
            start += group.height
            for split, writer in writers.items():
                texts = group["text"].filter(here == split)
                if len(texts):
                    ids, lengths = encoder.encode(texts.to_list())
                    writer.add_many(ids, lengths)
                    tokens[split] += ids.size
                    characters += int(texts.str.len_chars().sum())
    spent = {"characters": characters, "cpu_seconds": {"tokenize": time.process_time() - started}}
    (folder / PROFILE_NAME).write_bytes(orjson.dumps(spent))
    return tokens
