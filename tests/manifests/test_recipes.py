"""The cluster that the manifests make is the one that the recipes expect."""

from urllib.parse import urlparse

import pytest
from mlflow.server.security_utils import is_allowed_host_header

from images import build
from pipelines.images import images
from pipelines.recipe import load_recipe
from tests.manifests.rendering import one, pod_templates


@pytest.fixture(params=["meditron-7b", "meditron-70b"])
def recipe(request):
    return load_recipe(request.param)


def test_namespace(objects, recipe):
    for namespace in (recipe.cluster.kubeflow.namespace, recipe.platform.launcher.pytorchjob.namespace):
        one(objects, "Namespace", namespace)


def test_secrets_and_their_keys(objects, recipe):
    for name, variables in recipe.cluster.secrets.items():
        assert set(one(objects, "Secret", name)["data"]) == set(variables)
    for name in recipe.platform.launcher.pytorchjob.secret_env:
        one(objects, "Secret", name)


def test_claims(objects, recipe):
    claims = recipe.cluster.volume_claims | recipe.platform.launcher.pytorchjob.volume_claims
    assert claims
    for name in claims.values():
        one(objects, "PersistentVolumeClaim", name)


def test_pods_on_several_nodes_share_the_workspace(rendered):
    claim = one(rendered["a100"], "PersistentVolumeClaim", "meditron-workspace")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_service_accounts(objects, recipe):
    for name in (recipe.cluster.kubeflow.service_account, recipe.platform.launcher.pytorchjob.service_account):
        one(objects, "ServiceAccount", name)


def test_tracking_address_is_the_service_and_an_allowed_host(objects, recipe):
    address = urlparse(recipe.platform.tracking.uri)
    service = one(objects, "Service", "mlflow")
    assert address.hostname == f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
    assert address.port == service["spec"]["ports"][0]["port"]

    arguments = pod_templates(objects)["mlflow"]["spec"]["containers"][0]["args"]
    (hosts,) = [entry.removeprefix("--allowed-hosts=") for entry in arguments if entry.startswith("--allowed-hosts=")]
    hosts = hosts.replace("$(NAMESPACE)", service["metadata"]["namespace"]).split(",")
    assert is_allowed_host_header(hosts, address.netloc)
    assert is_allowed_host_header(hosts, "mlflow:5000")  # the job that adds the user
    assert not is_allowed_host_header(hosts, "mlflow.meditron.svc.example.org:5000")
    assert not is_allowed_host_header(hosts, "10.0.0.1:5000")


def test_artifacts_are_in_the_bucket_of_the_data(objects, recipe):
    arguments = pod_templates(objects)["mlflow"]["spec"]["containers"][0]["args"]
    (root,) = [entry.split("=")[1] for entry in arguments if entry.startswith("--default-artifact-root=")]
    assert urlparse(root).netloc == urlparse(recipe.platform.data).netloc


def test_s3_of_the_single_machine_has_that_bucket_and_that_address(rendered, recipe):
    container = pod_templates(rendered["kind"])["s3"]["spec"]["containers"][0]
    assert f"-bucket={urlparse(recipe.platform.data).netloc}" in container["args"]
    assert f"-s3.port={container['ports'][0]['containerPort']}" in container["args"]


@pytest.fixture
def deployed(rendered):
    """The images of all overlays."""
    return {
        container["image"]
        for objects in rendered.values()
        for template in pod_templates(objects).values()
        for container in template["spec"]["containers"]
    }


def test_only_one_way_to_name_the_images(deployed):
    """Recipes and manifests leave the registry to the site alike."""
    assert all("." not in image.split("/")[0] for image in deployed if "/" in image)


def test_our_images_are_called_as_make_images_calls_them(deployed, recipe):
    built = {f"meditron/{name}:{build.project_version()}" for name in build.IMAGES}
    ours = {image for image in [*deployed, *images(recipe)] if image.startswith("meditron/")}
    assert "meditron/mlflow:" in " ".join(ours)
    assert ours <= built


def test_each_step_gets_the_image_that_holds_its_libraries(recipe):
    placements = {"": recipe.cluster.default, **recipe.cluster.steps}
    for name, placement in placements.items():
        kind = name.rstrip("-0123456789")
        expected = kind if kind in ("quantize", "evaluate") else "pipeline"
        assert placement.image == f"meditron/{expected}:{build.project_version()}", name
    assert recipe.platform.launcher.pytorchjob.image == f"meditron/train:{build.project_version()}"
