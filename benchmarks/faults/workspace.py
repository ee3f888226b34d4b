"""What a run has finished: its artifacts, by their manifests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from components.platform.manifest import MANIFEST_NAME, Manifest


@dataclass(frozen=True)
class Finished:
    """One finished artifact.

    Attributes:
        digest: of everything in it.
        bytes: of its files.
        written: when its manifest was (nanoseconds, as the file system says); another time means it was made again.
    """

    digest: str
    bytes: int
    written: int


@dataclass(frozen=True)
class Undisturbed:
    """The run that others are compared with.

    Attributes:
        began: in nanoseconds, as `Finished.written`.
        seconds: that it took.
        seconds_again: that the same command took when all was there.
    """

    artifacts: dict[str, Finished]
    began: int
    seconds: float
    seconds_again: float

    def seconds_left(self, found: dict[str, Finished]) -> float:
        """How long a run goes on that has what is found here: it finds that again, and makes the rest."""
        known = [self.artifacts[name] for name in found if name in self.artifacts]
        reached = max(((artifact.written - self.began) / 1e9 for artifact in known), default=0.0)
        return self.seconds - reached + self.seconds_again * len(known) / len(self.artifacts)


def finished(runs: Path) -> dict[str, Finished]:
    """By `kind/key`."""
    found = {}
    for path in sorted(runs.glob(f"*/*/{MANIFEST_NAME}")):
        manifest = Manifest.load(path)
        size = sum(entry.bytes for entry in manifest.files)
        found[f"{path.parts[-3]}/{path.parts[-2]}"] = Finished(manifest.digest, size, path.stat().st_mtime_ns)
    return found


def lost(before: dict[str, Finished], after: dict[str, Finished]) -> int:
    """Bytes of artifacts that were finished and are gone, altered or made again."""
    return sum(artifact.bytes for name, artifact in before.items() if after.get(name) != artifact)


def differences(reference: dict[str, Finished], found: dict[str, Finished]) -> list[str]:
    """Artifacts that are not the same in both."""
    ours, theirs = ({name: artifact.digest for name, artifact in side.items()} for side in (found, reference))
    return sorted({name for name, _ in ours.items() ^ theirs.items()})
