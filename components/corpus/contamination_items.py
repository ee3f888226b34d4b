"""What to look for in documents: the texts of evaluation sets, prepared to pass by most documents quickly."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from components.corpus.words import Hashes, Words, combined
from components.platform.questions.question import Question

# Words that a text too short for n-grams is first looked for by, where it has as many
_ANCHORS = (4, 2, 1)
_FILTER_BITS_PER_KEY = 64


@dataclass(frozen=True)
class ItemText:
    """A text of an item that a document may hold.

    Attributes:
        item: place of the item among all questions.
        rule: what a match is called: "question", "context" or "question and answer".
        ngrams: distinct hashes of the text's n-grams, shape (k,); empty when it has too few words for one.
        needed: how many of `ngrams` a document must hold.
        sequences: for a text without n-grams, the words that must be there in a row: the question's, the answer's.
    """

    item: int
    rule: str
    ngrams: Hashes
    needed: int
    sequences: tuple[Hashes, ...]


def item_texts(questions: Sequence[Question], ngram: int, overlap: float) -> list[ItemText]:
    """Questions and contexts of at least `ngram` words; shorter questions with their answers."""
    found = []
    asked = _words(question.question for question in questions)
    read = _words(question.context for question in questions)
    answers = _words(_telling_answer(question) for question in questions)
    for item, (question, context, answer) in enumerate(zip(asked, read, answers, strict=True)):
        for rule, words in (("question", question), ("context", context)):
            if len(words) >= ngram:
                grams = np.unique(ngrams(words, ngram))
                # The smallest count that is a share of at least `overlap`; rounding must not ask for one more
                needed = math.ceil(len(grams) * overlap - 1e-9)
                found.append(ItemText(item, rule, grams, needed, ()))
        if 0 < len(question) < ngram:
            rule = "question and answer" if len(answer) else "question"
            sequences = tuple(words for words in (question, answer) if len(words))
            found.append(ItemText(item, rule, np.zeros(0, np.uint64), 0, sequences))
    return found


def ngrams(words: Hashes, n: int) -> Hashes:
    """Hashes of n words in a row, as `Words.ngrams` makes them of a batch, shape (len(words) - n + 1,)."""
    return combined(list(np.lib.stride_tricks.sliding_window_view(words, n).T))


class Keys:
    """For each text a few hashes of which a document that matches holds at least one.

    A document that lacks at most k of a text's n-grams holds one of any k + 1 of them, so those that the fewest texts
    share are enough: "which of the following is the most likely" leads nowhere (the prefix filter of set similarity
    joins; Chaudhuri et al., 2006). A short text is found by its first words or those of its answer, of the longer one.

    Attributes:
        sizes: numbers of words that keys are made of.
    """

    def __init__(self, texts: Sequence[ItemText], ngram: int) -> None:
        shared = Counter(gram for text in texts for gram in text.ngrams.tolist())
        pairs: dict[int, list[tuple[int, int]]] = {}
        for number, text in enumerate(texts):
            if len(text.ngrams):
                rarest = sorted(text.ngrams.tolist(), key=lambda gram: (shared[gram], gram))
                pairs.setdefault(ngram, []).extend((gram, number) for gram in rarest[: len(rarest) - text.needed + 1])
            else:
                longest = max(text.sequences, key=len)
                size = next(size for size in (ngram, *_ANCHORS) if size <= len(longest))
                pairs.setdefault(size, []).append((int(ngrams(longest[:size], size)[0]), number))
        self._tables = {size: _Table(sorted(pairs[size])) for size in sorted(pairs)}

    def candidates(self, words: Words, grams: dict[int, Hashes]) -> npt.NDArray[np.int64]:
        """Pairs of document and text that may match, shape (pairs, 2), sorted and each once.

        Args:
            grams: by number of words, what `Words.ngrams` gives for it.
        """
        found = [np.zeros((0, 2), dtype=np.int64)]
        for size, table in self._tables.items():
            places, texts = table.hits(grams[size])
            documents = words.documents(places)
            is_inside = places + size <= words.offsets[documents + 1]
            found.append(np.stack([documents[is_inside], texts[is_inside]], axis=1))
        return np.unique(np.concatenate(found), axis=0)

    @property
    def sizes(self) -> list[int]:
        return list(self._tables)


class _Table:
    """Hashes with numbers of texts, sorted; a small table of their first bits turns nearly all others away."""

    def __init__(self, pairs: Sequence[tuple[int, int]]) -> None:
        self._hashes = np.array([gram for gram, _ in pairs], dtype=np.uint64)
        self._texts = np.array([text for _, text in pairs], dtype=np.int64)
        bits = max(8, math.ceil(math.log2(_FILTER_BITS_PER_KEY * len(pairs))))
        self._shift = np.uint64(64 - bits)
        self._may_hit = np.zeros(1 << bits, dtype=np.bool_)
        self._may_hit[self._hashes >> self._shift] = True

    def hits(self, hashes: Hashes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Places in `hashes` that are in the table, and the texts there; a place once for each of its texts."""
        places = np.flatnonzero(self._may_hit[hashes >> self._shift])
        first = np.searchsorted(self._hashes, hashes[places], "left")
        counts = np.searchsorted(self._hashes, hashes[places], "right") - first
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(places, counts), self._texts[np.repeat(first, counts) + within]


def _telling_answer(question: Question) -> str:
    """The right answer, unless it is a mere label: "yes" says nothing about where a text comes from."""
    answer = question.options[question.answer]
    return "" if answer == question.answer else answer


def _words(texts: Iterable[str]) -> list[Hashes]:
    words = Words.of(pl.Series(list(texts), dtype=pl.String).str.normalize("NFC"))
    return [words.hashes[start:end] for start, end in pairwise(words.offsets)]
