"""Contamination: documents that hold an item of an evaluation set. It marks them; whole works are dropped later.

Three rules, after appendix B.5 of the paper, which takes 8-grams and an overlap of 80%:

- A question or a context (PubMedQA's abstracts) of at least 8 words matches where a document holds at least 80% of
  its distinct word 8-grams, anywhere and in any order.
- A shorter question matches where a document holds all its words in a row and, also in a row, those of the right
  answer. Such questions are many (62% of MedMCQA's are too short for long n-grams), and many are mere stems: that a
  document holds "Which of the following is true?" says nothing without the answer.
- A document matches when its PMID is that of the article an item was made from.

Words are compared by 64-bit hashes, n-grams by hashes of these. For n-grams to match by chance, several hashes would
have to, at odds of 1 to 2^64 each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from components.corpus.contamination_items import ItemText, Keys, item_texts
from components.corpus.words import Hashes, Words
from components.platform.questions.question import Question

EXCERPT_CHARACTERS = 200

# Document, item, rule, overlap, and the word of the batch where the match begins
_Found = tuple[int, int, str, float, int]


class Contamination:
    """Finds items in documents.

    Args:
        questions: the items to look for, in the order of their benchmarks.
        ngram: words in an n-gram.
        overlap: share of a text's n-grams in a document from which on it matches.
    """

    def __init__(self, questions: Sequence[Question], ngram: int, overlap: float) -> None:
        self._questions = list(questions)
        self._ngram = ngram
        self._texts = item_texts(self._questions, ngram, overlap)
        self._keys = Keys(self._texts, ngram)
        self._by_pmid: dict[str, list[int]] = defaultdict(list)
        for item, question in enumerate(self._questions):
            if question.pmid is not None:
                self._by_pmid[question.pmid].append(item)

    def __call__(self, batch: pl.DataFrame, words: Words) -> tuple[pl.Series, list[dict[str, Any]]]:
        """Look through a batch with the columns `id`, `origin` and `pmid`; `words` are those of its texts.

        Returns:
            The column `contaminated`: the benchmark whose item a document holds (the first one of several), else
            null. And what matched what, one record for each document, item and rule.
        """
        found = sorted({*self._by_text(words), *self._by_article(batch["pmid"], words)})
        marks: list[str | None] = [None] * batch.height
        matches = []
        for document, item, rule, overlap, place in found:
            question = self._questions[item]
            marks[document] = marks[document] or question.benchmark
            matches.append(
                {
                    "document": batch["id"][document],
                    "origin": batch["origin"][document],
                    "benchmark": question.benchmark,
                    "item": question.id,
                    "rule": rule,
                    "overlap": overlap,
                    "excerpt": words.excerpt(document, place, EXCERPT_CHARACTERS),
                }
            )
        return pl.Series(marks, dtype=pl.String), matches

    def _by_article(self, pmids: pl.Series, words: Words) -> Iterator[_Found]:
        known = pl.Series(list(self._by_pmid), dtype=pl.String)
        for document in pmids.is_in(known.implode()).fill_null(False).arg_true():
            for item in self._by_pmid[pmids[document]]:
                yield document, item, "pmid", 1.0, int(words.offsets[document])

    def _by_text(self, words: Words) -> Iterator[_Found]:
        grams = {size: words.ngrams(size) for size in self._keys.sizes}
        for document, number in self._keys.candidates(words, grams).tolist():
            text = self._texts[number]
            begin, end = words.offsets[document : document + 2]
            if len(text.ngrams):
                held = grams[self._ngram][begin : end - self._ngram + 1]
                overlap, place = _overlap(text, held)
            else:
                overlap, place = _sequences(text, words.hashes[begin:end])
            if place is not None:
                yield document, text.item, text.rule, overlap, int(begin + place)


def _overlap(text: ItemText, held: Hashes) -> tuple[float, int | None]:
    """The share of the text's n-grams among those `held`, and the first of these places; None: too few."""
    places = np.flatnonzero(np.isin(held, text.ngrams))
    count = len(np.unique(held[places]))
    return count / len(text.ngrams), int(places[0]) if count >= text.needed else None


def _sequences(text: ItemText, words: Hashes) -> tuple[float, int | None]:
    """1 and the place of the question, when all the text's sequences are among the words; else 0 and None."""
    places = [_places(sequence, words) for sequence in text.sequences]
    return (1.0, int(places[0][0])) if all(len(found) for found in places) else (0.0, None)


def _places(sequence: Hashes, words: Hashes) -> npt.NDArray[np.int64]:
    """Where all of `sequence` stands in a row."""
    places = np.arange(max(len(words) - len(sequence) + 1, 0))
    for offset, word in enumerate(sequence):
        places = places[words[places + offset] == word]
    return places
