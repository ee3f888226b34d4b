"""The MLflow server and the job of its user in their image, as the manifests start them: the tests of the processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.images.docker import Docker
from tests.manifests.rendering import pod_templates
from tests.pipelines.test_laptop_run import wait_for
from tests.platform.test_mlflow_server import (  # noqa: F401 - fixtures, and the tests to be run here, too
    Server,
    container_of,
    environment,
    is_up,
    objects,
    on_loopback,
    pipeline_user,
    postgres,
    test_job_can_be_applied_again,
    test_pipeline_logs_and_registers,
    test_user_of_the_pipeline_is_no_administrator,
    test_who_may_ask_and_under_which_name,
    write_config,
)

pytestmark = [pytest.mark.slow, pytest.mark.docker, pytest.mark.timeout(3600)]


def docker_size(quantity: str) -> str:
    """A size as Docker writes it: 2g for Kubernetes' 2Gi."""
    return quantity.removesuffix("i").lower()


def as_in(objects: list[dict[str, Any]], workload: str, variables: dict[str, str], folder: Path) -> list[str]:  # noqa: F811
    """Docker's options for what the manifest allows and mounts: user, file system, capabilities, memory, volumes."""
    pod, container = pod_templates(objects)[workload]["spec"], container_of(objects, workload)
    context = pod["securityContext"] | container["securityContext"]
    options = ["--network=host", f"--user={context['runAsUser']}:{context['runAsGroup']}"]
    options += ["--read-only"] if context["readOnlyRootFilesystem"] else []
    options += ["--security-opt=no-new-privileges"] if not context["allowPrivilegeEscalation"] else []
    options += [f"--cap-drop={name}" for name in context["capabilities"]["drop"]]
    options += [f"--memory={docker_size(container['resources']['limits']['memory'])}"]
    options += [f"--env={name}={value}" for name, value in variables.items()]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in container["volumeMounts"]:
        volume, path = volumes[mount["name"]], mount["mountPath"]
        if "emptyDir" in volume:
            options.append(f"--tmpfs={path}:exec,size={docker_size(volume['emptyDir']['sizeLimit'])}")
        else:
            (folder / mount["name"]).mkdir()
            files = write_config(objects, volume["configMap"]["name"], folder / mount["name"])
            options.append(f"--volume={files}:{path}:ro")
    return options


@pytest.fixture(scope="module")
def server(
    docker: Docker,
    images: dict[str, str],
    objects: list[dict[str, Any]],  # noqa: F811
    postgres: int,  # noqa: F811
    s3_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """The deployment's container."""
    port, command, variables = on_loopback(objects, postgres, s3_server)
    options = as_in(objects, "mlflow", variables, tmp_path_factory.mktemp("mlflow"))
    container = docker("run", "--detach", *options, images["mlflow"], *command)
    try:
        wait_for(lambda: is_up(objects, port))
        yield Server(f"http://localhost:{port}", objects)
    finally:
        docker("rm", "--force", container)


@pytest.fixture(scope="module")
def run_user_job(
    docker: Docker, images: dict[str, str], server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], str]:
    """Runs the job's container; what it printed."""
    variables = environment(server.objects, "mlflow-user") | {"MLFLOW_TRACKING_URI": server.uri}
    options = as_in(server.objects, "mlflow-user", variables, tmp_path_factory.mktemp("job"))
    command = container_of(server.objects, "mlflow-user")["command"]
    return lambda: docker("run", "--rm", *options, images["mlflow"], *command) + "\n"
