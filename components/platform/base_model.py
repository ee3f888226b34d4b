"""The model that a chain of trainings began with, as each pretrained model of the chain tells in its metadata."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from components.platform.manifest import Manifest

METADATA = "base_model"


@dataclass(frozen=True)
class BaseModel:
    """A model that no stage made.

    Attributes:
        name: path below the data root, or "new" for one with random weights.
        digest: hex SHA-256 of its files' names and digests; of a new one, of its settings and the seed.
        is_new: its weights are random.
    """

    name: str
    digest: str
    is_new: bool

    @classmethod
    def existing(cls, path: str, files: Mapping[str, str]) -> Self:
        """The model at `path`; `files` are the digests of its files by their names."""
        return cls(path, _hash(sorted(files.items())), is_new=False)

    @classmethod
    def new(cls, settings: Mapping[str, Any], seed: int) -> Self:
        return cls("new", _hash([settings, seed]), is_new=True)

    @classmethod
    def of(cls, pretrained: Manifest) -> Self:
        """What a pretrained model goes back to; of a retrained one, what the first of its chain began with."""
        return cls(**pretrained.metadata[METADATA])

    def as_metadata(self) -> dict[str, Any]:
        """What `of` reads."""
        return {METADATA: asdict(self)}


def _hash(content: list) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
