"""What MLflow could not be told yet, on disk: kept in order, with the times at which it was measured.

One file per stage and pipeline run, JSON lines. Telling a thing twice changes nothing in MLflow, so a file is delivered
from its beginning until all of it has arrived, and then deleted.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.platform import storage
from components.platform.context import PlatformSettings
from components.platform.manifest import scratch

ENTRIES, FILES, LOCK = "entries.jsonl", "files", ".lock"


@dataclass(frozen=True)
class Entry:
    """One thing to tell: the name of an operation (see `operations`) and its arguments."""

    operation: str
    data: dict[str, Any]


class Spool:
    """What one stage of one pipeline run has yet to tell."""

    def __init__(self, folder: Path) -> None:
        """`folder` is `<root>/<pipeline run>/<stage>`."""
        self.folder = folder
        self.pipeline_run, self.stage = folder.parts[-2:]

    @property
    def is_empty(self) -> bool:
        return not (self.folder / ENTRIES).exists()

    def add(self, entry: Entry) -> None:
        """Keep an entry; it is on the disk when this returns. A file that it names is copied, for it may go."""
        if "path" in entry.data:
            entry = Entry(entry.operation, entry.data | {"path": str(self._copied(Path(entry.data["path"])))})
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ENTRIES).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(entry)) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def entries(self) -> list[Entry]:
        """All entries in order; a last line that was torn when its process died is left out."""
        if self.is_empty:
            return []
        *lines, _ = (self.folder / ENTRIES).read_text(encoding="utf-8").split("\n")
        return [Entry(**json.loads(line)) for line in lines]

    def clear(self) -> None:
        (self.folder / ENTRIES).unlink(missing_ok=True)
        shutil.rmtree(self.folder / FILES, ignore_errors=True)

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Hold the spool's lock, if no other process has it; whether we do. It is free when its holder dies."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def _copied(self, path: Path) -> Path:
        target = self.folder / FILES / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        return target


def spool_root(platform: PlatformSettings) -> Path:
    """Where spools lie: in the workspace, where the next step finds them; on this machine, if that is on S3."""
    base = scratch() if storage.is_s3(platform.workspace) else Path(platform.workspace)
    return base / ".mlflow-spool"


def leftovers(platform: PlatformSettings) -> list[Spool]:
    """Spools of stages that ended before MLflow answered, and of those that are still at work."""
    found = sorted(spool_root(platform).glob(f"*/*/{ENTRIES}"))
    return [Spool(path.parent) for path in found]
