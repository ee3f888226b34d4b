"""Docker for the tests: a daemon, a base image made of Debian's packages, and the project's images built on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from images import build
from tests.images.docker import Docker

ROOT = build.ROOT
BASE = "meditron-test/base:bookworm"
REPOSITORY, TAG = "meditron-test", "test"
PATIENCE_SECONDS = 60


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """Docker; where no daemon runs, one is started for the tests and ended with them."""
    client = Docker(build.find_docker())
    if shutil.which(client.command) is None:
        pytest.skip("no docker command; `make test-images` installs it")
    if client.answers:
        yield client
        return
    if os.getuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("no Docker daemon answers, and only root with docker.io installed can start one")
    log = tmp_path_factory.mktemp("dockerd") / "log.txt"
    daemon = subprocess.Popen(["dockerd"], stdout=log.open("w"), stderr=subprocess.STDOUT)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not client.answers:
        assert daemon.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
    yield client
    daemon.terminate()
    daemon.wait(timeout=PATIENCE_SECONDS)


@pytest.fixture(scope="session")
def base(docker: Docker) -> str:
    """The base image: IMAGES_BASE, or one made here, once."""
    if named := os.environ.get("IMAGES_BASE"):
        return named
    if not docker("image", "ls", "--quiet", BASE):
        if os.getuid() != 0 or shutil.which("debootstrap") is None:
            pytest.skip("no base image: set IMAGES_BASE, or run as root with debootstrap installed")
        environment = os.environ | {"DOCKER": docker.command}
        subprocess.run([ROOT / "images" / "debian_base", BASE], check=True, env=environment)
    return BASE


@pytest.fixture(scope="session")
def images(docker: Docker, base: str) -> dict[str, str]:
    """The images that `make images` builds, built by the same script: short name → name and tag."""
    names = [name for name, image in build.IMAGES.items() if image.default]
    where = ["--docker", docker.command, "--base", base, "--repository", REPOSITORY, "--tag", TAG]
    subprocess.run([sys.executable, ROOT / "images" / "build.py", *where, *names], check=True)
    return {name: f"{REPOSITORY}/{name}:{TAG}" for name in names}
