"""Temporary files of a local run go with it, killed or not; those of runs that live are left alone."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from components.platform.manifest import scratch
from pipelines.temporary import PREFIX, remove_those_of_the_dead, temporary_folder


def test_what_the_steps_leave_goes_with_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("MEDITRON_SCRATCH", "")
    monkeypatch.delenv("MEDITRON_SCRATCH")  # to be as it was after the test, whatever it is set to meanwhile
    kept = scratch()
    with temporary_folder() as folder:
        leave = "import tempfile; print(tempfile.mkdtemp())"
        left = subprocess.run([sys.executable, "-c", leave], capture_output=True, text=True, check=True).stdout.strip()
        assert left.startswith(folder)
        assert scratch() == kept, "what is fetched from S3 outlives the run"
    assert not Path(folder).exists()
    assert os.environ["TMPDIR"] == str(tmp_path)


def test_those_of_killed_runs_are_removed(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = [f"{PREFIX}{ended.pid}-abc", f"{PREFIX}{os.getpid()}-abc", f"{PREFIX}notes", "other"]
    for name in names:
        (tmp_path / name).mkdir()
    remove_those_of_the_dead(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])
