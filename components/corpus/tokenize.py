"""Token ids of documents: what the tokenizer makes of the text, and an end-of-document token. No BOS (paper)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from components.corpus import tokenizer
from components.platform.indexed import smallest_dtype


class Encoder:
    """Encodes documents with the tokenizer in a folder; the ids do not depend on how documents are batched.

    Attributes:
        vocab_size: number of ids, added tokens included.
        dtype: type in which ids are stored.
    """

    def __init__(self, folder: Path) -> None:
        self._tokenizer = tokenizer.load(folder)
        self._end = tokenizer.end_of_document(folder)
        self.vocab_size = self._tokenizer.get_vocab_size(with_added_tokens=True)
        self.dtype = smallest_dtype(self.vocab_size)

    def encode(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.int64]]:
        """Ids of all texts end to end, shape (sum of lengths,), and the lengths, shape (len(texts),)."""
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        ids = [[*encoding.ids, self._end] for encoding in encodings]
        lengths = np.array([len(document) for document in ids], dtype=np.int64)
        return np.fromiter(chain.from_iterable(ids), dtype=self.dtype, count=int(lengths.sum())), lengths
