"""How much a source file may make of itself: a few kilobytes expand to terabytes if somebody wants them to."""

from __future__ import annotations

from pydantic import Field

from components.platform.settings import Settings


class Limits(Settings):
    """Bounds on source files, which come from outside; what is beyond them is set aside and counted."""

    record_bytes: int = Field(
        default=256 << 20, ge=1, description="longest record, decompressed; the longest books have 10 MB of text"
    )
    expansion: int = Field(
        default=100,
        ge=1,
        description="how many times its size a compressed file may expand, if to more than a record; text does 3 to 20",
    )

    def expanded_bytes(self, compressed_bytes: int) -> int:
        """What a compressed file of this size may expand to; one record's worth, which fits into memory, always may."""
        return max(self.record_bytes, self.expansion * compressed_bytes)


DEFAULT = Limits()
