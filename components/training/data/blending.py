"""Which group of the corpus each sample comes from."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from components.platform.errors import SettingsError


class Blend:
    """Spreads an endless sequence of samples over groups, evenly and by weight.

    Among the first n samples, group g has weight[g] · n of them, give or take half the number of groups, for
    every n. Counts are computed, not looked up: the heaviest group takes each time its rounded share of the
    sequence, the next group its share of what is left, and so on; exactly, in integers.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        """Weights need not sum to one; groups of weight zero are left out.

        Raises:
            SettingsError: a weight is negative, or none is positive.
        """
        if negative := [group for group, weight in weights.items() if not weight >= 0]:
            raise SettingsError(f"weights.{negative[0]}: {weights[negative[0]]} is not a weight; give 0 or more")
        exact = {group: Fraction(str(weight)) for group, weight in weights.items() if weight > 0}
        if not exact:
            raise SettingsError("weights: all groups weigh 0; give at least one group a positive weight")
        self._shares: dict[str, Fraction] = {}
        left = sum(exact.values(), Fraction(0))
        for group in sorted(exact, key=lambda group: (-exact[group], group)):
            self._shares[group] = exact[group] / left
            left -= exact[group]

    @property
    def groups(self) -> list[str]:
        """Groups that samples come from, heaviest first."""
        return list(self._shares)

    def counts(self, n: int) -> dict[str, int]:
        """How many of the first `n` samples come from each group."""
        result = {}
        for group, share in self._shares.items():
            result[group] = _part(n, share)
            n -= result[group]
        return result

    def __getitem__(self, index: int) -> tuple[str, int]:
        """The group of sample `index`, and how many samples before it came from that group."""
        for group, share in self._shares.items():
            before = _part(index, share)
            if _part(index + 1, share) > before:
                return group, before
            index -= before
        raise AssertionError("the last group's share is all that is left")


def _part(n: int, share: Fraction) -> int:
    """n · share, rounded half up."""
    return (2 * n * share.numerator + share.denominator) // (2 * share.denominator)
