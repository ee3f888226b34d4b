"""A group's tokens as one stream, cut into windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from components.platform.errors import InputError
from components.platform.indexed import IndexedDataset
from components.training.data.sample import positions_in_documents


class Windows:
    """Windows of `sequence_length` + 1 tokens over the documents of an indexed dataset, laid end to end.

    Neighbours share one token: the last label of one window is the first input of the next, so every token
    but the very first is a label exactly once. What does not fill a window at the end of the stream is left
    out.
    """

    def __init__(self, prefix: Path, sequence_length: int) -> None:
        """`prefix` is the dataset's path without `.bin` and `.idx`.

        Raises:
            InputError: the dataset can't be read, or its documents do not lie end to end.
        """
        self.sequence_length = sequence_length
        self._dataset = dataset = IndexedDataset(prefix)
        path = prefix.with_name(f"{prefix.name}.bin")
        # The stream is the file itself: nothing but the pages that are read comes into memory.
        self._tokens = np.memmap(path, dtype=dataset.dtype, mode="r")
        if len(self._tokens) != dataset.num_tokens:
            raise InputError(
                f"{path}: {len(self._tokens)} tokens, but its index lists {dataset.num_tokens}; "
                "expected documents end to end, each once"
            )

    def __len__(self) -> int:
        return max(0, (len(self._tokens) - 1) // self.sequence_length)

    def __getitem__(self, index: int) -> np.ndarray:
        """Window `index`: int64 [sequence_length + 1]."""
        start = self._start(index)
        return self._tokens[start : start + self.sequence_length + 1].astype(np.int64)

    def positions(self, index: int) -> np.ndarray:
        """Position of each token of window `index` within its document: int64 [sequence_length + 1].

        A document that began before the window counts as beginning with it.
        """
        start, length = self._start(index), self.sequence_length + 1
        begins = self._dataset.starts_between(start + 1, start + length) - start
        # An empty document begins where the next one does
        return positions_in_documents(np.unique(np.append(begins, 0)), length)

    def _start(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        return index * self.sequence_length
