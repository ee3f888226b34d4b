"""The mixture: how much general text is replayed, and with what weight each group is trained on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from components.corpus import split


def replayed(
    keys: npt.NDArray[np.uint64], tokens: npt.NDArray[np.integer], others: int, replay_share: float, seed: int
) -> npt.NDArray[np.bool_]:
    """Which replay documents are trained on, so that replay makes up `replay_share` of the training tokens.

    The paper replays 420M of 46.7B tokens (Table 1). Documents are taken in the order of a hash of their id while
    that brings the number of tokens closer to the target, and at least one is taken.

    Args:
        keys: hashes of the ids of all replay documents in training, shape (n,).
        tokens: their lengths, shape (n,).
        others: training tokens of all other groups together.
        replay_share: tokens of replay / tokens of all groups, in [0, 1).
    """
    taken = np.ones(keys.size, dtype=bool)
    if others == 0:
        return taken  # nothing to mix
    target = others * replay_share / (1 - replay_share)
    drawn = split.order(keys, seed, "replay")
    sizes = tokens[drawn].astype(np.int64)
    middle = np.cumsum(sizes) - sizes / 2
    surplus = middle > target
    surplus[: int(replay_share > 0)] = False
    taken[drawn[surplus]] = False
    return taken


def weights(train_tokens: Mapping[str, int]) -> dict[str, float]:
    """The share of each group in the training tokens, so that one pass over the mixture reads each token once."""
    total = sum(train_tokens.values())
    return {group: tokens / total for group, tokens in train_tokens.items()} if total else {}
