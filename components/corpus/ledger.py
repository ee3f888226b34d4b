"""The ledger: for each source and step, rows in = rows out + every named drop, and one step's out is the next's in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

LEDGER = "ledger.json"


class LedgerError(RuntimeError):
    """Rows got lost or were made: a bug in a step, never the user's fault."""


@dataclass
class Entry:
    """What one step did to the rows of one source."""

    source: str
    step: str
    rows_in: int = 0
    rows_out: int = 0
    drops: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "step": self.step,
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "drops": dict(sorted(self.drops.items())),
        }


class Ledger:
    """Entries by source and step, in the order in which they first appeared."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], Entry] = {}

    def add(self, source: str, step: str, rows_in: int, rows_out: int, drops: Mapping[str, int]) -> None:
        """Count rows; several calls for one source and step add up.

        Raises:
            LedgerError: these rows do not add up.
        """
        if rows_in != rows_out + sum(drops.values()) or any(n < 0 for n in (rows_in, rows_out, *drops.values())):
            raise LedgerError(f"{source}, {step}: {rows_in} rows in, {rows_out} out, but dropped {dict(drops)}")
        entry = self._entries.setdefault((source, step), Entry(source, step))
        entry.rows_in += rows_in
        entry.rows_out += rows_out
        entry.drops.update(drops)

    def check(self, written: Mapping[str, int]) -> None:
        """Follow each source through its steps to the rows that were written.

        Args:
            written: by source, the documents that are in the finished files.

        Raises:
            LedgerError: a step got other rows than the one before it gave, or the files hold other rows.
        """
        for source, rows in written.items():
            steps = [entry for entry in self._entries.values() if entry.source == source]
            for before, after in pairwise(steps):
                if before.rows_out != after.rows_in:
                    raise LedgerError(
                        f"{source}: {before.step} gave {before.rows_out} rows, but {after.step} got {after.rows_in}"
                    )
            if steps and steps[-1].rows_out != rows:
                raise LedgerError(f"{source}: {steps[-1].step} gave {steps[-1].rows_out} rows, but {rows} were written")
            if rows and not steps:
                raise LedgerError(f"{source}: {rows} rows were written, but none were read")

    def drops(self, source: str | None = None) -> Counter[str]:
        """Named drops of one source or of all, over all steps."""
        chosen = [entry for entry in self._entries.values() if source in (None, entry.source)]
        return sum((entry.drops for entry in chosen), Counter())

    def rows(self) -> list[dict[str, Any]]:
        return [entry.as_dict() for entry in self._entries.values()]

    def extend(self, rows: list[dict[str, Any]]) -> None:
        """Add the entries that `rows` of another ledger gave."""
        for row in rows:
            self.add(**row)
