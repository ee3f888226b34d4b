"""Every rendered object against Kubernetes' own schemas, unknown fields forbidden, in each version the guide names."""

import copy

import kubernetes_validate
import pytest

from tests.manifests.rendering import one

VERSIONS = ["1.34", "1.35", "1.36"]
KUEUE = "kueue.x-k8s.io/"  # its schemas are not at hand: see test_kueue.py


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field(objects, version):
    checked = [entry for entry in objects if not entry["apiVersion"].startswith(KUEUE)]
    for entry in checked:
        kubernetes_validate.validate(entry, version, strict=True)
    assert len(checked) >= 20


@pytest.mark.parametrize(
    ("kind", "name", "path", "value"),
    [
        ("Deployment", "mlflow", "spec.template.spec.containers.0.redinessProbe", {}),
        ("Deployment", "mlflow", "spec.template.spec.containers.0.ports.0.containerPort", "5000"),
        ("StatefulSet", "mlflow-postgres", "spec.template.spec.securityContext.runAsNonroot", True),
        ("NetworkPolicy", "mlflow", "spec.ingress.0.form", []),
        ("Role", "meditron-launcher", "rules.0.verb", ["get"]),
        ("PersistentVolumeClaim", "meditron-workspace", "spec.accessMode", "ReadWriteMany"),
        ("Job", "mlflow-user", "spec.backoffLimit", "20"),
    ],
)
def test_wrong_fields_are_found(rendered, kind, name, path, value):
    broken = copy.deepcopy(one(rendered["kind"], kind, name))
    *parents, last = path.split(".")
    node = broken
    for key in parents:
        node = node[int(key) if key.isdigit() else key]
    node[last] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


def test_names_are_unique(objects):
    names = [(entry["kind"], entry["metadata"]["name"]) for entry in objects]
    assert len(names) == len(set(names))


def test_everything_lands_in_the_namespace(objects):
    cluster_wide = {"Namespace", "PriorityClass", "ResourceFlavor", "ClusterQueue"}
    for entry in objects:
        assert entry["metadata"].get("namespace") == (None if entry["kind"] in cluster_wide else "meditron")
