"""The mixture: how much general text is replayed, and with what weight each group is trained on."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from components.corpus import split


def surplus_rows(index: pl.DataFrame, replay_share: float, seed: int) -> pl.Series:
    """Rows of replay documents that are too many, so that replay makes up `replay_share` of the training tokens.

    The paper replays 420M of 46.7B tokens (Table 1). Documents are taken in the order of a hash of their id while
    that brings the number of tokens closer to the target, and at least one is taken.

    Args:
        index: the documents in the corpus, with the columns `row`, `id`, `group`, `split` and `tokens`.
        replay_share: tokens of replay / tokens of all groups, in [0, 1).

    Returns:
        Values of the column `row`.
    """
    replay = index.filter((pl.col("split") == "train") & (pl.col("group") == "replay"))
    others = index.filter((pl.col("split") == "train") & (pl.col("group") != "replay"))["tokens"].sum()
    if others == 0 or replay.is_empty():
        return pl.Series([], dtype=index["row"].dtype)  # nothing to mix
    target = others * replay_share / (1 - replay_share)
    ordered = replay.with_columns(chance=split.fractions(replay["id"], seed, "replay")).sort("chance", "id")
    middle = ordered["tokens"].cum_sum() - ordered["tokens"] / 2
    first = int(replay_share > 0)
    return ordered["row"][first:].filter(middle[first:] > target)


def weights(train_tokens: Mapping[str, int]) -> dict[str, float]:
    """The share of each group in the training tokens, so that one pass over the mixture reads each token once."""
    total = sum(train_tokens.values())
    return {group: tokens / total for group, tokens in train_tokens.items()} if total else {}
