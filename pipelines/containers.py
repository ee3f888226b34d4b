"""The steps of a local run as containers of their images, by KFP's DockerRunner: as on a cluster, with one machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import docker
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container
from docker.types import Mount
from kfp import local

from components.platform import storage
from components.platform.errors import SettingsError, UserError
from pipelines.recipe import Recipe

RUN_LABEL = "meditron.run"

# To whatever PID 1 started, and to itself: KFP's shell may have become the step's own process.
_TERMINATE = ["sh", "-c", "kill -TERM 1 $(cat /proc/1/task/1/children)"]


@contextlib.contextmanager
def container_steps(recipe: Recipe, run_id: str) -> Iterator[local.DockerRunner]:
    """A runner whose containers see what a process here would see, and end with the block.

    They run as this user, in this folder, on this machine's network. Of the file system they see this folder, the
    workspace, and the data (read-only); of the environment, the variables that `cluster.secrets` names.

    Raises:
        SettingsError: MLflow is recorded in a file: the images have MLflow's client alone.
        UserError: Docker can't be reached, has no such image, or refuses something else.
    """
    platform = recipe.platform
    if not platform.tracking.uri.startswith(("http://", "https://")):
        raise SettingsError(
            f"platform.tracking.uri: {platform.tracking.uri}: the images of the steps hold MLflow's client alone; "
            "start `mlflow server` and name its address, such as http://localhost:5000"
        )
    folders = {Path.cwd(): False}
    if not storage.is_s3(platform.workspace):
        Path(platform.workspace).mkdir(parents=True, exist_ok=True)
        folders[Path(platform.workspace).resolve()] = False
    if not storage.is_s3(platform.data):
        folders.setdefault(Path(platform.data).resolve(), True)
    passed_on = {name for keys in recipe.cluster.secrets.values() for name in keys.values()} & os.environ.keys()
    try:
        yield local.DockerRunner(
            mounts=[Mount(str(path), str(path), type="bind", read_only=fixed) for path, fixed in folders.items()],
            working_dir=str(Path.cwd()),
            user=f"{os.getuid()}:{os.getgid()}",
            network_mode="host",
            environment={"KFP_RUN_ID": run_id} | {name: os.environ[name] for name in passed_on},
            labels={RUN_LABEL: run_id},
        )
    except DockerException as error:
        raise UserError(f"Docker: {error}") from None
    finally:
        with contextlib.suppress(DockerException):  # what could not be reached has nothing to be ended
            _end_steps(run_id, grace_seconds=platform.launcher.grace_seconds)


def _end_steps(run_id: str, grace_seconds: float) -> None:
    """End the containers that an interruption left: SIGTERM, which closes their MLflow runs, and then SIGKILL."""
    with contextlib.closing(docker.from_env()) as client:
        for container in client.containers.list(filters={"label": f"{RUN_LABEL}={run_id}"}):
            with contextlib.suppress(NotFound, APIError):  # it ended by itself meanwhile
                _end(container, grace_seconds)


def _end(container: Container, grace_seconds: float) -> None:
    container.exec_run(_TERMINATE)
    try:
        container.wait(timeout=grace_seconds)
    except OSError:  # what requests raises when the time is over
        container.kill()
