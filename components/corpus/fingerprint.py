"""The fingerprint of a document: keys to find copies and near-duplicates by, and the evaluation set it leaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from components.corpus.batch import Drops
from components.corpus.contamination import Contamination
from components.corpus.minhash import MinHash
from components.corpus.settings import Decontaminate, NearDuplicates
from components.corpus.words import Words
from components.platform.questions.question import Question


class Fingerprint:
    """The fingerprint step: all from one split into words.

    Args:
        near_duplicates: parameters of the band keys; None: no such columns.
        decontaminate: parameters of the search for items; None: no column `contaminated`.
        questions: the items to look for.

    Attributes:
        matches: what matched what, over all batches so far (see `Contamination`).
    """

    def __init__(
        self,
        near_duplicates: NearDuplicates | None,
        decontaminate: Decontaminate | None,
        questions: Sequence[Question],
    ) -> None:
        self.matches: list[dict[str, Any]] = []
        self._minhash = self._contamination = None
        if near_duplicates:
            self._minhash = MinHash(near_duplicates.ngram, near_duplicates.bands, near_duplicates.rows)
        if decontaminate:
            self._contamination = Contamination(questions, decontaminate.ngram, decontaminate.overlap)

    def __call__(self, batch: pl.DataFrame) -> tuple[pl.DataFrame, Drops]:
        """Add the columns `key_text`, `band_00`, ... and `contaminated`. Drops nothing.

        `key_text` is equal for texts of the same words, whatever their titles, case, punctuation and spacing; null
        for a text without words.
        """
        words = Words.of(batch["text"])
        columns = {"key_text": words.keys(skip=Words.of(batch["title"]).counts)}
        if self._minhash:
            columns |= self._minhash(words)
        if self._contamination:
            columns["contaminated"], matches = self._contamination(batch, words)
            self.matches += matches
        return batch.with_columns(**columns), {}
