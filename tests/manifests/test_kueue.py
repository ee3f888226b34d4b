"""The queue in front of the pool admits the published runs: Kueue's own schemas are not at hand, so field by field."""

import pytest
from kubernetes.utils.quantity import parse_quantity

from components.platform.launcher import JobSpec
from components.platform.launcher.pytorchjob_spec import to_pytorchjob
from pipelines.recipe import load_recipe
from tests.manifests.rendering import of_kind, one


@pytest.fixture
def queued(rendered):
    return rendered["a100-kueue"]


def test_queue_leads_to_the_pool(queued):
    local = one(queued, "LocalQueue", "a100")
    assert local["spec"] == {"clusterQueue": "a100"}
    queue = one(queued, "ClusterQueue", "a100")["spec"]
    assert queue["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "meditron"}}
    (group,) = queue["resourceGroups"]
    (flavor,) = group["flavors"]
    one(queued, "ResourceFlavor", flavor["name"])
    assert [resource["name"] for resource in flavor["resources"]] == group["coveredResources"]


def test_only_the_overlay_with_a_queue_needs_kueue(rendered):
    assert not [entry for entry in rendered["a100"] if "kueue" in entry["apiVersion"]]


@pytest.mark.parametrize(("name", "nodes"), [("meditron-7b", 8), ("meditron-70b", 16)])
def test_quota_admits_the_published_run(queued, name, nodes):
    launcher = load_recipe(name).platform.launcher
    job = to_pytorchjob(JobSpec("pretrain", "m", (), 8, nodes), launcher)
    needed = {}
    for replica in job["spec"]["pytorchReplicaSpecs"].values():
        (container,) = replica["template"]["spec"]["containers"]
        for resource, quantity in container["resources"]["requests"].items():
            needed[resource] = needed.get(resource, 0) + replica["replicas"] * parse_quantity(quantity)
    (group,) = one(queued, "ClusterQueue", "a100")["spec"]["resourceGroups"]
    quota = {entry["name"]: parse_quantity(entry["nominalQuota"]) for entry in group["flavors"][0]["resources"]}
    assert needed.keys() == quota.keys()
    assert all(needed[resource] <= quota[resource] for resource in quota)


@pytest.mark.parametrize("name", ["meditron-7b", "meditron-70b"])
def test_pool_has_the_labels_and_taints_of_the_recipes(queued, name):
    (flavor,) = of_kind(queued, "ResourceFlavor")
    pods = load_recipe(name).platform.launcher.pytorchjob
    assert flavor["spec"] == {"nodeLabels": pods.node_selector, "tolerations": list(pods.tolerations)}
