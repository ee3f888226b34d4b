"""Two processes that make the same result at once: one is refused; one that is killed is followed by another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.platform import storage
from components.platform.errors import UserError
from components.platform.manifest import Manifest
from components.platform.settings import Settings
from components.platform.stage import LEASE_NAME, produce
from components.platform.storage import lease as leases
from components.platform.storage import s3 as access
from components.platform.storage.lease import lease

pytestmark = pytest.mark.slow

WORK = """
import sys, time
from pathlib import Path
from components.platform.context import PlatformSettings
from components.platform.errors import UserError
from components.platform.stage import produce
from components.platform.storage import lease
from tests.faults.test_two_writers import Poem

def work(folder):
    (folder / "poem.txt").write_text("roses are red")
    print("begun", flush=True)
    time.sleep(float(sys.argv[2]))
    return {}

lease.RENEWAL_SECONDS, lease.LIFE_SECONDS = 0.3, 5.0
try:
    print(produce("poem", Poem(), {}, PlatformSettings.model_validate_json(sys.argv[1]), work).uri)
except UserError as error:
    sys.exit(str(error))
"""


class Poem(Settings):
    lines: int = 1


@pytest.fixture
def s3_platform(platform, bucket):
    return platform.model_copy(update={"workspace": f"{bucket}/runs"})


def write(platform, seconds: float, scratch: Path) -> subprocess.Popen[str]:
    """A process that makes the result, on a machine of its own as far as S3 can tell; returned when it is at work."""
    environment = os.environ | {"MEDITRON_SCRATCH": str(scratch)}
    command = [sys.executable, "-c", WORK, platform.model_dump_json(), str(seconds)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while seconds and "begun" not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()
    return process


@pytest.mark.parametrize("where", ["platform", "s3_platform"], ids=["one folder", "two machines and S3"])
def test_the_second_is_refused(where, request, tmp_path):
    platform = request.getfixturevalue(where)
    first = write(platform, 20, tmp_path / "one")
    second = write(platform, 0, tmp_path / "other")
    message = second.communicate(timeout=60)[1]
    assert second.returncode == 1
    assert "another process is making this very result" in message
    assert "Traceback" not in message
    assert first.poll() is None, "and the first goes on undisturbed"
    out, message = first.communicate(timeout=60)
    assert first.returncode == 0, message
    artifact = Manifest.load(out.splitlines()[-1])
    assert (artifact.local() / "poem.txt").read_text() == "roses are red"
    assert write(platform, 0, tmp_path / "other").wait(60) == 0, "later it is found"


@pytest.mark.parametrize("where", ["platform", "s3_platform"], ids=["one folder", "two machines and S3"])
def test_one_that_was_killed_is_followed_by_the_next(where, request, tmp_path):
    platform = request.getfixturevalue(where)
    first = write(platform, 60, tmp_path / "one")
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = write(platform, 0, tmp_path / "other")
    out, message = second.communicate(timeout=60)
    assert second.returncode == 0, message
    assert Manifest.load(out.splitlines()[-1]).local()


def test_nothing_is_left_of_a_lease(s3_platform, bucket):
    made = produce("poem", Poem(), {}, s3_platform, lambda folder: {})
    assert [file.name for file in access.listed(made.uri, "**/*")] == ["manifest.json"]
    assert not storage.exists(f"{made.uri}/{LEASE_NAME}")


def test_a_lease_that_was_lost_is_noticed_before_anything_is_published(bucket, monkeypatch):
    """As when S3 could not be had for longer than a lease lives, and another took over."""
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 0.1)
    with lease(f"{bucket}/x/.lease") as check:
        check()
        access.client().put_object(Bucket=bucket.removeprefix("s3://"), Key="x/.lease", Body=b"of another")
        time.sleep(0.5)
        with pytest.raises(UserError, match=f"^{bucket}/x: another process is making this very result"):
            check()
    assert storage.read_text(f"{bucket}/x/.lease") == "of another"
