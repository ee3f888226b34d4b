"""Token ids of documents: what the tokenizer makes of the text, and an end-of-document token. No BOS (paper).

gigatoken does the work where it knows the tokenizer and gives the same ids as `tokenizers` on a sample of the
corpus: it is some hundred times faster. Otherwise `tokenizers` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import awkward
import gigatoken
import numpy as np
import numpy.typing as npt

from components.corpus import tokenizer
from components.platform.indexed import smallest_dtype
from components.platform.model_folder import load_tokenizer


class Encoder:
    """Encodes documents with the tokenizer in a folder; the ids do not depend on how documents are batched.

    Args:
        fast: use gigatoken (see `agrees`).

    Attributes:
        vocab_size: number of ids, added tokens included.
        dtype: type in which ids are stored.
    """

    def __init__(self, folder: Path, fast: bool) -> None:
        self._tokenizer = load_tokenizer(folder)
        self._fast = gigatoken.Tokenizer(folder / "tokenizer.json") if fast else None
        self._end = tokenizer.end_of_document(folder, self._tokenizer)
        self.vocab_size = self._tokenizer.get_vocab_size(with_added_tokens=True)
        self.dtype = smallest_dtype(self.vocab_size)

    def encode(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.int64]]:
        """Ids of all texts end to end, shape (sum of lengths,), and the lengths, shape (len(texts),)."""
        if self._fast is None:
            encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
            lengths = np.fromiter((len(encoding.ids) for encoding in encodings), np.int64, len(encodings))
            tokens = chain.from_iterable(encoding.ids for encoding in encodings)
            ids = np.fromiter(tokens, self.dtype, int(lengths.sum()))
        else:
            encoded = self._fast.encode_batch(list(texts))
            lengths = awkward.to_numpy(awkward.num(encoded)).astype(np.int64)
            ids = awkward.to_numpy(awkward.flatten(encoded)).astype(self.dtype)
        return np.insert(ids, np.cumsum(lengths), self._end), lengths + 1


def agrees(folder: Path, texts: Sequence[str]) -> bool:
    """Whether gigatoken can read the tokenizer in `folder`, and gives the same ids for all `texts`."""
    try:
        fast = Encoder(folder, fast=True)
    except RuntimeError:  # a kind of tokenizer it does not know
        return False
    pairs = zip(fast.encode(texts), Encoder(folder, fast=False).encode(texts), strict=True)
    return all(np.array_equal(found, expected) for found, expected in pairs)
