"""What a retraining goes on from: a registered version of the model, and the corpora behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from components.platform.context import PlatformSettings
from components.platform.errors import InputError
from components.platform.manifest import Manifest
from components.platform.tracking.models import ModelRegistry
from components.platform.tracking.tracker import tracking_uri

PREDECESSOR_TAG = "meditron.predecessor"
"""Tag of a pipeline run: the number of the version that it goes on from."""


@dataclass(frozen=True)
class Predecessor:
    """A registered version, as one text that the pipeline hands from step to step.

    Attributes:
        name: the registered model's.
        version: its number.
        corpus: where the corpus lies that it was trained on.
        pretrained: where the pretrained model lies that it was fine-tuned from.
    """

    name: str
    version: int
    corpus: str
    pretrained: str

    @classmethod
    def find(cls, platform: PlatformSettings, name: str, wanted: str) -> Predecessor:
        """The version of a model that an alias points at, or that has this number.

        Raises:
            InputError: there is none, or what it was made from is gone or was changed.
        """
        registry = ModelRegistry(tracking_uri(platform))
        found = registry.get(name, wanted) if wanted.isdecimal() else registry.find(name, wanted)
        if found is None:
            raise InputError(
                f"model {name} has no version with the alias {wanted}, so there is nothing to go on from; train one in "
                "a whole run first, and let it become the champion"
            )
        corpus, pretrained = found.artifact("corpus"), found.artifact("pretrained")
        return cls(found.name, found.version, corpus.uri, pretrained.uri)

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"

    def to_json(self) -> str:
        # kfp.local decides on the text by putting it between apostrophes; elsewhere it is the same JSON
        return json.dumps(asdict(self), sort_keys=True).replace("'", r"\u0027")

    @classmethod
    def from_json(cls, text: str) -> Predecessor | None:
        """What `to_json` made; None of the empty text, which a whole run hands on."""
        return cls(**json.loads(text)) if text else None


def corpora_before(corpus: Manifest) -> list[Manifest]:
    """The corpora that this one only adds to, the newest first; none when it was built from all source files.

    Raises:
        InputError: one is gone or was changed.
    """
    return [_unchanged(record["uri"], record["digest"]) for record in corpus.metadata.get("before", ())]


def all_corpora(predecessor: Predecessor | None) -> list[Manifest]:
    """The corpora behind a predecessor, the newest first; none without one.

    Raises:
        InputError: one is gone or was changed.
    """
    if predecessor is None:
        return []
    newest = Manifest.load(predecessor.corpus)
    return [newest, *corpora_before(newest)]


def note_of(corpora: Sequence[Manifest]) -> dict[str, Any]:
    """What `corpora_before` reads in the metadata of the corpus that adds to `corpora`."""
    return {"before": [{"uri": corpus.uri, "digest": corpus.digest} for corpus in corpora]} if corpora else {}


def as_inputs(corpora: Sequence[Manifest]) -> Mapping[str, Manifest]:
    """Earlier corpora as the inputs of a stage, by role: before/1 is the newest."""
    return {f"before/{number}": corpus for number, corpus in enumerate(corpora, start=1)}


def _unchanged(uri: str, digest: str) -> Manifest:
    manifest = Manifest.load(uri)
    if manifest.digest != digest:
        raise InputError(f"{uri}: not the corpus that a later one adds to any more")
    return manifest
