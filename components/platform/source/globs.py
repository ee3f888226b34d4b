"""Which names a pattern stands for, the same in folders and on S3."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from components.platform.errors import InputError


def checked(pattern: str, address: str | None = None) -> str:
    """A pattern as it came; errors name the `address` that it is a part of, if any.

    Raises:
        InputError: it is not a name below a root: empty, absolute, leading out of the root, or `**` beside other
            letters.
    """
    parts = pattern.split("/")
    if not {"", ".", ".."}.isdisjoint(parts):
        raise InputError(
            f"{address or pattern!r}: expected a name or glob below the data root, such as notes/*.jsonl, or an "
            "address that begins with s3:// or hf://"
        )
    if any("**" in part and part != "**" for part in parts) or parts[-1] == "**":
        raise InputError(f"{address or pattern}: ** stands for any folders, so it is followed by a name: write **/*")
    return pattern


def fixed_part(pattern: str) -> str:
    """The beginning that every match has."""
    return re.split(r"[*?[]", pattern, maxsplit=1)[0]


def matches(name: str, pattern: str) -> bool:
    """Whether `*`, `?` and `[...]` within a folder's name or a file's, and `**` for any folders, give `name`."""
    return _match(name.split("/"), pattern.split("/"))


def _match(names: Sequence[str], patterns: Sequence[str]) -> bool:
    if not patterns or not names:
        return not patterns and not names
    first, *rest = patterns
    if first == "**":
        return any(_match(names[skipped:], rest) for skipped in range(len(names)))
    return fnmatchcase(names[0], first) and _match(names[1:], rest)
