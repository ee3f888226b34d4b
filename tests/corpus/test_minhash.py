"""MinHash: signatures estimate similarity, and band keys of near-duplicates are equal as often as the formula says."""

import random

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from components.corpus.minhash import MinHash
from components.corpus.words import Words

FINEWEB = MinHash(ngram=5, bands=14, rows=8)


def words_of(*texts):
    return Words.of(pl.Series(texts, dtype=pl.String))


def sequence(rng, words):
    return [f"w{rng.randrange(10**6)}" for _ in range(words)]


def pair(rng, words, changed):
    """A text, the same with some words replaced, and the Jaccard similarity of their 5-word shingles."""
    first = sequence(rng, words)
    second = list(first)
    for place in rng.sample(range(words), changed):
        second[place] = f"x{rng.randrange(10**6)}"
    shingles = [{tuple(text[i : i + 5]) for i in range(words - 4)} for text in (first, second)]
    similarity = len(shingles[0] & shingles[1]) / len(shingles[0] | shingles[1])
    return " ".join(first), " ".join(second), similarity


def pairs(changed, count=250):
    rng = random.Random(changed)
    return [pair(rng, 200, changed) for _ in range(count)]


def test_signatures_estimate_the_jaccard_similarity():
    for changed in (0, 1, 4, 10, 30):
        firsts, seconds, similarities = zip(*pairs(changed), strict=True)
        signatures = [FINEWEB.signatures(words_of(*texts))[0] for texts in (firsts, seconds)]
        assert signatures[0].shape == (250, 112)
        errors = np.mean(signatures[0] == signatures[1], axis=1) - similarities
        # The standard deviation of one estimate is at most 0.5 / √112 = 0.047, of the mean of 250 0.003
        assert abs(errors.mean()) < 0.012
        assert errors.std() < 0.06
        assert (errors == 0).all() == (changed == 0)


def test_bands_agree_as_often_as_the_formula_says():
    for changed in (2, 6, 10):
        firsts, seconds, similarities = zip(*pairs(changed), strict=True)
        keys = [pl.DataFrame(FINEWEB(words_of(*texts))) for texts in (firsts, seconds)]
        found = (keys[0].to_numpy() == keys[1].to_numpy()).any(axis=1).mean()
        expected = np.mean([1 - (1 - s**8) ** 14 for s in similarities])
        assert abs(found - expected) < 0.1  # three standard deviations of 250 draws


def test_texts_without_a_common_shingle_share_no_key():
    rng = random.Random(0)
    keys = pl.DataFrame(FINEWEB(words_of(*(" ".join(sequence(rng, 50)) for _ in range(500)))))
    assert all(keys[name].n_unique() == 500 for name in keys.columns)


def test_columns():
    keys = MinHash(ngram=3, bands=12, rows=2)(words_of("a b c d", "a b", ""))
    assert list(keys) == [f"band_{i:02}" for i in range(12)]
    assert {column.dtype for column in keys.values()} == {pl.UInt64}
    assert all(column.is_null().to_list() == [False, True, True] for column in keys.values())


def test_batches_without_shingles_have_the_same_columns():
    for texts in ((), ("", "too short")):
        keys = FINEWEB(words_of(*texts))
        assert [(column.dtype, len(column), column.null_count()) for column in keys.values()] == [
            (pl.UInt64, len(texts), len(texts))
        ] * 14


def test_only_the_set_of_shingles_counts():
    keys = pl.DataFrame(MinHash(2, 14, 8)(words_of("a b a b a b", "B, a? b a", "b a b", "a b a")))
    assert keys.unique().height == 1
    assert pl.DataFrame(MinHash(2, 14, 8)(words_of("a b a", "a b c"))).unique().height == 2


# Pinned: a change here makes the fingerprints of all prepared shards worthless
def test_keys_are_pinned():
    keys = MinHash(ngram=5, bands=2, rows=3)(words_of("The heart of the matter is the heart of the patient."))
    assert [column.item() for column in keys.values()] == [0xDC5F77CBEF3E3F2A, 0x3224988B48032053]


texts = st.lists(st.sampled_from(["heart", "lung", "IL-6", "été", ".", "[fig]"]), max_size=14).map(" ".join)


@given(st.lists(texts, min_size=1, max_size=6))
def test_keys_are_equal_for_equal_texts_whatever_the_batch(batch):
    minhash = MinHash(ngram=3, bands=3, rows=2)
    together = pl.DataFrame(minhash(words_of(*batch)))
    alone = pl.concat([pl.DataFrame(minhash(words_of(text))) for text in batch])
    assert together.equals(alone)
