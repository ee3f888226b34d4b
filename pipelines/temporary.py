"""The folder for all temporary files of a local run. KFP and torchrun leave theirs behind; with the folder they go."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from components.platform.manifest import scratch

PREFIX = "meditron-kfp-"
_OWNER = re.compile(rf"{PREFIX}(\d+)-.*")


@contextmanager
def temporary_folder() -> Iterator[str]:
    """A folder that the steps take for the system's; what runs that were killed have left is removed first."""
    remove_those_of_the_dead(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-") as folder:
        before = os.environ.get("TMPDIR")
        os.environ.setdefault("MEDITRON_SCRATCH", str(scratch()))  # which is to outlive the run
        os.environ["TMPDIR"] = folder
        try:
            yield folder
        finally:
            del os.environ["TMPDIR"]
            if before is not None:
                os.environ["TMPDIR"] = before


def remove_those_of_the_dead(parent: Path) -> None:
    """Remove folders whose run has ended without doing so."""
    for folder in parent.glob(f"{PREFIX}*"):
        owner = _OWNER.fullmatch(folder.name)
        if owner and not psutil.pid_exists(int(owner[1])):
            shutil.rmtree(folder, ignore_errors=True)  # another user's can't be
