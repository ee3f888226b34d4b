"""A shuffle that needs no table, so a corpus of any size is shuffled in constant memory."""

from __future__ import annotations

import hashlib

ROUNDS = 4
MASK_64 = (1 << 64) - 1


class Permutation:
    """A pseudorandom bijection of `range(size)` onto itself, chosen by `key`.

    A Feistel network permutes the numbers of the next even number of bits; results outside the range are put
    through it again until one falls inside ("cycle walking"; Black and Rogaway, 2002). The network's domain
    is less than four times `size`, so that takes fewer than four steps on average.
    """

    def __init__(self, size: int, *key: object) -> None:
        self.size = size
        self._half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
        self._half_mask = (1 << self._half_bits) - 1
        digest = hashlib.blake2b(repr(key).encode(), digest_size=8 * ROUNDS).digest()
        self._round_keys = [int.from_bytes(digest[8 * i : 8 * i + 8], "little") for i in range(ROUNDS)]

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self.size:
            raise IndexError(f"{index} is outside the permutation of {self.size}")
        value = self._encipher(index)
        while value >= self.size:
            value = self._encipher(value)
        return value

    def _encipher(self, value: int) -> int:
        left, right = value >> self._half_bits, value & self._half_mask
        for key in self._round_keys:
            left, right = right, left ^ (_mix(right ^ key) & self._half_mask)
        return left << self._half_bits | right


def _mix(value: int) -> int:
    """Scramble 64 bits: the output function of SplitMix64 (Steele, Lea and Flood, 2014)."""
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & MASK_64
    value = (value ^ value >> 27) * 0x94D049BB133111EB & MASK_64
    return value ^ value >> 31
