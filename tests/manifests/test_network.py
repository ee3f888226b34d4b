"""Who may connect to whom, by the rules of Kubernetes' network policies."""

import pytest

from components.platform.launcher.identity import BY_HAND, pod_labels
from tests.manifests.rendering import of_kind, pod_templates

STEP = {"pipeline/runid": "1", "workflows.argoproj.io/workflow": "w"}
RANK = pod_labels("pretrain", BY_HAND)
KFP_UI = {"app": "ml-pipeline-ui", "application-crd-id": "kubeflow-pipelines"}
STRANGER = {"app": "notebook"}


def selects(selector, labels):
    """Whether a label selector matches."""
    for expression in selector.get("matchExpressions", []):
        present = expression["key"] in labels
        match = {"Exists": present, "In": labels.get(expression["key"]) in expression.get("values", [])}
        if not match[expression["operator"]]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()


def comes_from(peer, labels, namespace):
    if "namespaceSelector" in peer:
        in_namespace = selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": namespace})
    else:
        in_namespace = namespace == "meditron"
    return in_namespace and selects(peer.get("podSelector", {}), labels)


def may_connect(objects, source, target, port, namespace="meditron"):
    """Whether a pod labelled `source` in `namespace` may reach `port` (by its name) of a pod labelled `target`."""
    policies = [policy["spec"] for policy in of_kind(objects, "NetworkPolicy")]
    selecting = [policy for policy in policies if selects(policy["podSelector"], target)]
    assert selecting, "no policy selects it, so everybody may connect"
    return any(
        any(comes_from(peer, source, namespace) for peer in rule["from"])
        and ("ports" not in rule or any(entry["port"] == port for entry in rule["ports"]))
        for policy in selecting
        for rule in policy.get("ingress", [])
    )


@pytest.mark.parametrize(
    ("source", "target", "port", "expected"),
    [
        (STEP, "mlflow", "http", True),
        (RANK, "mlflow", "http", False),
        (KFP_UI, "mlflow", "http", True),
        ("mlflow-user", "mlflow", "http", True),
        (STRANGER, "mlflow", "http", False),
        (STEP, "mlflow", "ssh", False),
        ("mlflow", "mlflow-postgres", "postgresql", True),
        (STEP, "mlflow-postgres", "postgresql", False),
        (RANK, "mlflow-postgres", "postgresql", False),
        ("mlflow-user", "mlflow-postgres", "postgresql", False),
        (RANK, RANK, "any", True),
        (STEP, RANK, "any", False),
        (STRANGER, RANK, "any", False),
        (RANK, STEP, "any", False),
        (STEP, KFP_UI, "any", True),
        (STEP, "mlflow-user", "any", False),
    ],
)
def test_connections(objects, source, target, port, expected):
    def labels(pod):
        return pod_templates(objects)[pod]["metadata"]["labels"] if isinstance(pod, str) else pod

    assert may_connect(objects, labels(source), labels(target), port) is expected


def test_kfp_reaches_mlflow_from_a_namespace_of_its_own_and_nobody_else_does(objects):
    mlflow = pod_templates(objects)["mlflow"]["metadata"]["labels"]
    assert may_connect(objects, KFP_UI, mlflow, "http", namespace="kubeflow")
    assert not may_connect(objects, KFP_UI, mlflow, "http", namespace="other")
    assert not may_connect(objects, STEP, mlflow, "http", namespace="other")


def test_s3_of_the_single_machine(rendered):
    labels = {name: template["metadata"]["labels"] for name, template in pod_templates(rendered["kind"]).items()}
    for source in (STEP, RANK, labels["mlflow"]):
        assert may_connect(rendered["kind"], source, labels["s3"], "s3")
    for source in (STRANGER, labels["mlflow-postgres"]):
        assert not may_connect(rendered["kind"], source, labels["s3"], "s3")


def test_ports_of_policies_are_ports_of_the_pods_they_guard(objects):
    for policy in of_kind(objects, "NetworkPolicy"):
        ports = {entry["port"] for rule in policy["spec"].get("ingress", []) for entry in rule.get("ports", [])}
        for template in pod_templates(objects).values():
            if ports and selects(policy["spec"]["podSelector"], template["metadata"]["labels"]):
                assert ports == {port["name"] for port in template["spec"]["containers"][0]["ports"]}
