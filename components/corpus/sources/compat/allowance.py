"""A guard against annotations that no paper has: thousands over the same characters, each of which is written out."""

from __future__ import annotations

from components.corpus.sources.document import RejectedError

# More than this no paper comes to, only spans that all claim the same characters
LARGEST_GROWTH, GROWTH_ALLOWED = 20, 100_000
LOOK = 10
"""Characters that a look at one span counts as: it takes longer than to copy them."""


class Allowance:
    """Counts the characters that are copied, and those that looking at spans counts as, for one text."""

    def __init__(self, characters: int) -> None:
        self._left = LARGEST_GROWTH * characters + GROWTH_ALLOWED

    def take(self, amount: int) -> None:
        """Use some of what is left.

        Raises:
            RejectedError: the text's annotations use more than it allows.
        """
        self._left -= amount
        if self._left < 0:
            raise RejectedError("spans_overlap", "annotated spans repeat the same text over and over")
