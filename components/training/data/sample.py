"""What one sample consists of."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Sample(NamedTuple):
    """Tokens, int64 [sequence_length + 1]; loss weight of each token to predict, float32 [sequence_length]; and, where
    documents don't see each other, each input token's position within its document, int64 [sequence_length].
    """

    tokens: np.ndarray
    loss_mask: np.ndarray
    positions: np.ndarray | None = None

    @classmethod
    def of_one_document(cls, tokens: np.ndarray) -> Sample:
        """Every token counts and sees all before it."""
        return cls(tokens, np.ones(len(tokens) - 1, dtype=np.float32))

    @classmethod
    def of_separate_documents(cls, tokens: np.ndarray, positions: np.ndarray) -> Sample:
        """Every token counts but the first of a document, which nothing tells; `positions` [sequence_length + 1]."""
        return cls(tokens, (positions[1:] > 0).astype(np.float32), positions[:-1])


def positions_in_documents(starts: np.ndarray, length: int) -> np.ndarray:
    """Position of each of `length` tokens within its document, int64; documents begin at `starts`, the first at 0."""
    return np.arange(length) - np.repeat(starts, np.diff(starts, append=length))
