"""Samples for continued pretraining: the corpus' groups, blended by weight and packed to full length."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from components.platform.errors import InputError, SettingsError
from components.training.data.blending import Blend
from components.training.data.permutation import Permutation
from components.training.data.windows import Windows


class PretrainingData:
    """An endless, shuffled, weighted blend of tokenized groups (GAP-Replay's mixture, paper, Table 1).

    Each group goes through all its windows once per epoch, in an order of its own for every epoch.
    """

    def __init__(
        self, prefixes: Mapping[str, Path], weights: Mapping[str, float], sequence_length: int, seed: int
    ) -> None:
        """
        Args:
            prefixes: group → its indexed dataset's path without suffix.
            weights: group → its share of the samples, in any unit; each group of `prefixes` needs one.
            sequence_length: tokens per sample that are predicted.
            seed: chooses the order.

        Raises:
            SettingsError: weights and groups don't match, or no weight is positive.
            InputError: a group is too small for one sample.
        """
        if prefixes.keys() != weights.keys():
            raise SettingsError(f"weights are given for {sorted(weights)}, but the corpus has {sorted(prefixes)}")
        self.seed = seed
        self._blend = Blend(weights)
        self._windows = {group: Windows(prefixes[group], sequence_length) for group in self._blend.groups}
        for group, windows in self._windows.items():
            if not len(windows):
                raise InputError(
                    f"{prefixes[group]}.bin: fewer than {sequence_length + 1} tokens, too few for a sample; "
                    f"give group {group} more documents, weight 0, or take a shorter sequence_length"
                )

    def sample(self, index: int) -> np.ndarray:
        """Sample `index` ≥ 0: int64 [sequence_length + 1]; a function of data, seed and index only."""
        windows, number = self._window(index)
        return windows[number]

    def positions(self, index: int) -> np.ndarray:
        """Position of each token of sample `index` within its document: int64 [sequence_length + 1]."""
        windows, number = self._window(index)
        return windows.positions(number)

    def _window(self, index: int) -> tuple[Windows, int]:
        group, position = self._blend[index]
        windows = self._windows[group]
        epoch, position = divmod(position, len(windows))
        return windows, Permutation(len(windows), self.seed, group, epoch)[position]

    def epochs(self, num_samples: int) -> dict[str, float]:
        """How many times each group is gone through in the first `num_samples` samples."""
        counts = self._blend.counts(num_samples)
        return {group: counts[group] / len(windows) for group, windows in self._windows.items()}


class ValidationData:
    """All windows of held-out groups, once each, shuffled so that any first part resembles the whole."""

    def __init__(self, prefixes: Mapping[str, Path], sequence_length: int, seed: int) -> None:
        """
        Raises:
            InputError: all groups together have not one full window.
        """
        self._windows = [Windows(prefixes[group], sequence_length) for group in sorted(prefixes)]
        self._starts = np.cumsum([0, *map(len, self._windows)])
        self.num_samples = int(self._starts[-1])
        if not self.num_samples:
            names = ", ".join(f"{prefix}.bin" for prefix in prefixes.values())
            raise InputError(f"{names}: no group has {sequence_length + 1} tokens, as one validation sample needs")
        self._order = Permutation(self.num_samples, seed, "validation")

    def sample(self, index: int) -> np.ndarray:
        """Sample `index` < num_samples: int64 [sequence_length + 1]."""
        windows, number = self._window(index)
        return windows[number]

    def positions(self, index: int) -> np.ndarray:
        """As `PretrainingData.positions`."""
        windows, number = self._window(index)
        return windows.positions(number)

    def _window(self, index: int) -> tuple[Windows, int]:
        number = self._order[index]
        group = int(np.searchsorted(self._starts, number, side="right")) - 1
        return self._windows[group], number - int(self._starts[group])
