"""The model that pretraining starts from, as a manifest of the pretrained model tells of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from components.platform.manifest import Manifest


@dataclass(frozen=True)
class BaseModel:
    """A model that no stage made.

    Attributes:
        name: path below the data root, or "new" for one with random weights.
        digest: hex SHA-256 of its files' names and digests; of a new one, of its settings and the seed.
        files: digest of each file by its name; a new model has none.
    """

    name: str
    digest: str
    files: dict[str, str]

    @classmethod
    def of(cls, pretrained: Manifest) -> BaseModel:
        settings, files = pretrained.made_by["settings"], pretrained.made_by["sources"]
        base = settings["base"]
        if base["path"] is None:
            return cls("new", _hash([base["new"], settings["seed"]]), {})
        return cls(base["path"], _hash(sorted(files.items())), files)


def _hash(content: list) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
