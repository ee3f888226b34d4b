"""The laptop recipe's DAG by KFP's DockerRunner: each step in the image that a cluster would run it in.

`meditron run` and the steps are a user's who may use Docker and is no one in particular; MLflow is a server in its
own image. One run is interrupted in the middle of training, then run to its end, and compared with a run in processes.
"""

from __future__ import annotations

import grp
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
import requests
import yaml

from components.platform.launcher.processes import die_with_parent
from pipelines.containers import RUN_LABEL
from tests.images.docker import LIKE_A_POD, Docker
from tests.pipelines.test_laptop_run import SAMPLE, finished, make_home, output, wait_for
from tests.platform.test_mlflow_server import free_port

pytestmark = [pytest.mark.slow, pytest.mark.docker, pytest.mark.timeout(3600)]
USER = 54321
RUN = "import sys; from pipelines.cli import main; sys.exit(main(sys.argv[1:]))"
# The same, with the containers of the steps as closed as a restricted pod with a read-only root file system.
RUN_LIKE_PODS = f"""
import functools
from docker.models.containers import ContainerCollection
ContainerCollection.run = functools.partialmethod(
    ContainerCollection.run,
    read_only=True,
    tmpfs={{"/tmp": "exec"}},
    cap_drop=["ALL"],
    security_opt=["no-new-privileges"],
)
{RUN}"""


@pytest.fixture(scope="module")
def server(docker: Docker, images: dict[str, str]) -> Iterator[str]:
    """Address of an MLflow server in its image, as any user, on a read-only file system."""
    port = free_port()
    command = ["mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    command += ["--backend-store-uri=sqlite:////tmp/mlflow.db", "--artifacts-destination=/tmp/artifacts"]
    container = docker("run", "--detach", "--network=host", *LIKE_A_POD, images["mlflow"], *command)
    address = f"http://127.0.0.1:{port}"

    def healthy() -> bool:
        try:
            return requests.get(f"{address}/health", timeout=5).ok
        except requests.ConnectionError:
            return False

    wait_for(healthy, seconds=120)
    yield address
    docker("rm", "--force", container)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, images: dict[str, str], server: str) -> Path:
    """A folder of the user's with the laptop recipe, its steps placed as on a cluster."""
    folder = make_home(tmp_path_factory.mktemp("docker"))
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    recipe["platform"]["tracking"] = {"uri": server, "experiment": "meditron"}
    train, evaluate = {"image": images["train"]}, {"image": images["evaluate"]}
    recipe["cluster"] |= {
        "runner": "docker",
        "default": {"image": images["pipeline"]},
        "steps": {
            "pretrain": train,
            "sft": train,
            "quantize": {"image": images["quantize"]},
            "evaluate": evaluate,
            "evaluate-2": evaluate,
            "evaluate-3": evaluate,
        },
        "env": {"OMP_NUM_THREADS": "1"},  # so many as in the run to compare with: sums depend on it
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    for path in (folder, folder / "recipe.yaml"):
        os.chown(path, USER, USER)
    for parent in folder.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o011)
    return folder


def start(home: Path, recipe: str = "recipe.yaml") -> subprocess.Popen:
    """`meditron run` as the user. It may read what root may (where the Python here is root's), not write."""
    reads = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
    groups = f"--groups={grp.getgrnam('docker').gr_gid}"
    command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", groups, *reads, sys.executable, "-c", RUN_LIKE_PODS]
    command += ["run", "--recipe", recipe, "--data", str(SAMPLE)]
    paths = {"HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}
    log = (home / "log.txt").open("a")
    return subprocess.Popen(
        command,
        cwd=home,
        env=os.environ | paths,
        stdout=log,
        stderr=subprocess.STDOUT,
        preexec_fn=lambda: die_with_parent(signal.SIGTERM),
    )


def containers(docker: Docker) -> list[str]:
    return docker("ps", "--quiet", "--filter", f"label={RUN_LABEL}").split()


def stages(server: str) -> Callable[[str], list[str]]:
    client = mlflow.MlflowClient(server)
    runs = client.search_runs([client.get_experiment_by_name("meditron").experiment_id])
    return lambda stage: sorted(run.info.status for run in runs if run.data.tags["meditron.stage"] == stage)


def test_interrupted_in_a_container_then_resumed_to_the_end(docker, home, server):
    run = start(home)
    wait_for(lambda: list((home / "runs").glob("pretrain/*/checkpoints/*")) or run.poll() is not None, seconds=600)
    assert run.poll() is None, output(home)
    assert len(containers(docker)) == 1
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=120) == 130, output(home)
    assert containers(docker) == []
    assert not finished(home, "pretrain")
    assert stages(server)("pretrain") == ["KILLED"]
    assert stages(server)("pipeline") == ["KILLED"]

    assert start(home).wait(timeout=900) == 0, output(home)
    assert "pretrain  continues after iteration" in output(home)
    assert containers(docker) == []
    assert stages(server)("pretrain") == ["FINISHED", "KILLED"]
    assert stages(server)("register") == ["FINISHED"]


def test_an_image_that_is_not_there_is_named(home, tmp_path_factory):
    other = tmp_path_factory.mktemp("no-image")
    recipe = yaml.safe_load((home / "recipe.yaml").read_text())
    recipe["cluster"]["default"] = {"image": "localhost:1/nothing:0.1.0"}
    (other / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    for path in (other, other / "recipe.yaml"):
        os.chown(path, USER, USER)
    assert start(other).wait(timeout=120) == 1
    assert "error: Docker: " in output(other)
    assert "localhost:1" in output(other)
    assert "Traceback" not in output(other)


def test_all_that_was_written_is_the_users(home):
    owners = {path.stat().st_uid for path in (home / "runs").rglob("*")}
    assert owners == {USER}


def test_the_model_is_registered_with_the_server(home, server):
    [version] = mlflow.MlflowClient(server).search_model_versions("name = 'meditron-laptop'")
    [quantized] = finished(home, "awq")
    assert version.tags["meditron.model"] == f"{quantized.uri}/model"
    assert version.tags["quantized.digest"] == quantized.digest


def test_containers_make_the_same_bytes_as_processes(home, tmp_path):
    other = make_home(tmp_path)
    command = [sys.executable, "-c", RUN, "run", "--recipe", "recipe.yaml", "--data", str(SAMPLE)]
    log = (other / "log.txt").open("w")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run(command, cwd=other, env=environment, stdout=log, stderr=subprocess.STDOUT, check=True, timeout=900)
    for kind in ("corpus", "pretrain", "sft", "awq", "evaluation"):
        digests = [{manifest.digest for manifest in finished(place, kind)} for place in (home, other)]
        assert digests[0] == digests[1], kind


def test_a_step_that_fails_ends_the_run(home, docker):
    """Last: it would have the quantized model judged again, which it fails."""
    recipe = yaml.safe_load((home / "recipe.yaml").read_text())
    recipe["quantization"]["gate"]["min_top1_agreement"] = 1.0
    (home / "strict.yaml").write_text(yaml.safe_dump(recipe))
    (home / "log.txt").unlink()
    assert start(home, "strict.yaml").wait(timeout=900) == 1
    assert "gate.min_top1_agreement is 1" in output(home)
    assert re.search("Inner task failed: .*'quantize'", output(home)), output(home)
    assert containers(docker) == []
