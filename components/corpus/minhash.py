"""MinHash: a short signature of a document, cut into bands that near-duplicates are likely to share.

A document is the set of its shingles, rows of n words (Broder, 1997). Of each of bands × rows random orders of all
shingles the signature keeps the first shingle of the document; two documents agree in one with a probability that is
their Jaccard similarity s. A band of r rows agrees with probability s^r, so at least one of b bands does with

    P(s) = 1 - (1 - s^r)^b,

an S-shaped curve that is steepest near (1/b)^(1/r) (Leskovec et al., Mining of Massive Datasets, section 3.4). The
14 × 8 of FineWeb put that at 0.72: of pairs with similarity 0.5 they find 5%, of 0.7 56%, of 0.8 92%, of 0.9 all but
one in 2,600.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
import polars as pl
from rensa import RMinHash

from components.corpus.words import Words, combined

_SEED = 1  # of the random orders: documents of all shards and corpora must have the same


@dataclass(frozen=True)
class MinHash:
    """Band keys of documents.

    Args:
        ngram: words in a shingle.
        bands: how many parts the signature has.
        rows: how many hashes are in a band.
    """

    ngram: int
    bands: int
    rows: int

    def __call__(self, words: Words) -> dict[str, pl.Series]:
        """Columns `band_00`, ... of 64-bit keys; null for a document with fewer words than a shingle.

        Two documents with an equal key in one column agree in that band.
        """
        signatures, has_shingles = self.signatures(words)
        keys = np.zeros((self.bands, len(has_shingles)), dtype=np.uint64)
        # [rows of a band, bands, documents]
        parts = signatures.reshape(-1, self.bands, self.rows).transpose(2, 1, 0).astype(np.uint64)
        keys[:, has_shingles] = combined(list(parts))
        frame = pl.DataFrame({f"band_{band:02}": column for band, column in enumerate(keys)})
        return frame.select(pl.when(pl.Series(has_shingles)).then(pl.all())).to_dict()

    def signatures(self, words: Words) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.bool_]]:
        """Signatures of the documents that have a shingle, shape (number of those, bands × rows), and which these are.

        The share of places where two signatures are equal estimates the similarity of their documents.
        """
        counts = np.maximum(np.diff(words.offsets) - self.ngram + 1, 0)
        counts = counts[has_shingles := counts > 0]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64)
        shingles = words.ngrams(self.ngram)[words.inside(self.ngram)]
        size = self.bands * self.rows
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(shingles, offsets, size, _SEED)
        flat = np.fromiter(chain.from_iterable(matrix.to_rows()), dtype=np.uint32, count=len(counts) * size)
        return flat.reshape(-1, size), has_shingles
