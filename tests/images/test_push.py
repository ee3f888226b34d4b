"""From `make images PUSH=1` to a pipeline that names its images by digest, with a registry on loopback."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml

from images import build
from pipelines.cli import main
from pipelines.images import read_lock
from pipelines.recipe import RECIPES
from tests.images.docker import Docker
from tests.pipelines.test_laptop_run import wait_for
from tests.platform.test_mlflow_server import free_port

pytestmark = [pytest.mark.slow, pytest.mark.docker, pytest.mark.timeout(3600)]


@pytest.fixture
def registry(docker: Docker, tmp_path: Path) -> Iterator[str]:
    """Address of a registry; what it holds goes with the test, and so do its names in Docker."""
    if shutil.which("docker-registry") is None:
        pytest.skip("no docker-registry; `make test-images` installs it")
    address, folder = f"127.0.0.1:{free_port()}", tmp_path / "registry"
    storage = {"filesystem": {"rootdirectory": str(folder)}}
    config = tmp_path / "registry.yaml"
    config.write_text(yaml.safe_dump({"version": 0.1, "storage": storage, "http": {"addr": address}}))
    log = tmp_path / "registry.log"
    server = subprocess.Popen(["docker-registry", "serve", config], stdout=log.open("w"), stderr=subprocess.STDOUT)

    def is_up() -> bool:
        assert server.poll() is None, log.read_text()
        try:
            return requests.get(f"http://{address}/v2/", timeout=10).ok
        except requests.ConnectionError:
            return False

    try:
        wait_for(is_up, seconds=60)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)
        names = "{{range .RepoTags}}{{println .}}{{end}}{{range .RepoDigests}}{{println .}}{{end}}"
        for image in docker("image", "ls", "--quiet", f"--filter=reference={address}/*/*").split():
            ours = [name for name in docker("image", "inspect", f"--format={names}", image).split() if address in name]
            docker("image", "rm", *ours, check=False)  # with its last tag an image loses its digests, too


def pulled(docker: Docker, reference: str) -> str:
    """Id of an image, from the registry."""
    docker("pull", reference)
    return docker("image", "inspect", "--format={{.Id}}", reference)


def test_a_pushed_image_is_named_by_digest_and_stays_what_it_is(docker: Docker, base, images, registry, tmp_path):
    lock, compiled = tmp_path / "images.lock", tmp_path / "pipeline.yaml"
    where = ["--docker", docker.command, "--base", base, "--repository", f"{registry}/meditron", "--tag", "test"]
    command = [sys.executable, build.ROOT / "images" / "build.py", *where, "--push", "--lock", lock, "pipeline"]
    subprocess.run(command, check=True)
    name = f"{registry}/meditron/pipeline:test"
    [(named, digest)] = read_lock(lock).items()
    assert named == name

    recipe = yaml.safe_load((RECIPES / "laptop.yaml").read_text())
    recipe["platform"]["data"] = "s3://meditron/data"
    recipe["cluster"]["default"] = {"image": name}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    arguments = ["--recipe", str(tmp_path / "recipe.yaml"), "--images", str(lock), "-o", str(compiled)]
    assert main(["compile", *arguments]) == 0
    executors = next(yaml.safe_load_all(compiled.read_text()))["deploymentSpec"]["executors"].values()
    assert {executor["container"]["image"] for executor in executors} == {f"{name}@{digest}"}

    pushed = docker("image", "inspect", "--format={{.Id}}", name)
    docker("tag", base, name)
    docker("push", name)
    docker("image", "rm", name, f"{registry}/meditron/pipeline@{digest}")
    assert pulled(docker, name) != pushed, "the tag has moved"
    assert pulled(docker, f"{name}@{digest}") == pushed
