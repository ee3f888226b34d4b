"""The launcher's Role allows the requests that it makes of the Kubernetes API, and no others."""

from itertools import product
from urllib.parse import parse_qs, urlparse

import pytest

from components.platform.launcher.cluster import Cluster
from components.platform.launcher.kinds import KINDS
from tests.manifests.rendering import of_kind, one
from tests.platform.cluster import NAMESPACE, Log
from tests.platform.launching import cluster  # noqa: F401 - a fixture

VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}


def permission(request):
    """(group, resource, verb) that a request needs."""
    method, _, address = request.partition(" ")
    url = urlparse(address)
    prefix, _, rest = url.path.partition("/namespaces/")
    group = prefix.split("/")[2] if prefix.startswith("/apis/") else ""
    _, resource, *name = rest.split("/")
    if method != "GET":
        return group, resource, VERBS[method]
    if not name:
        return group, resource, "watch" if parse_qs(url.query).get("watch") == ["True"] else "list"
    return group, "/".join([resource, *name[1:]]), "get"


@pytest.fixture
def needed(cluster):  # noqa: F811
    """(group, resource, verb) of each request that the launcher can make: those of all its methods."""
    launcher = Cluster(NAMESPACE, retry_seconds=0.01)
    done = set()

    def call(method, *arguments):
        done.add(method)
        return getattr(launcher, method)(*arguments)

    def list_and_watch(source):
        source.watch(source.list()[1]).close()

    for kind in KINDS.values():
        call("create", kind, {"metadata": {"name": "job"}})
        call("get", kind, "job")
        call("jobs", kind, "meditron-run")
        call("set_owners", kind, "job", [])
        list_and_watch(call("job_source", kind, "job"))
        call("delete", kind, "job")
    cluster.put("pods", {"metadata": {"name": "pod", "uid": "1", "labels": {}}, "status": {"phase": "Running"}})
    cluster.logs["pod"] = Log(has_ended=True)
    list_and_watch(call("pod_source", "meditron-run"))
    call("events", "pod")
    call("open_log", "pod", "1", "pytorch", None, None).close()
    call("read_log", "pod", "pytorch", 1)
    public = {name for name in vars(Cluster) if not name.startswith("_")}
    assert done == public - {"request"}, "a method that this test does not call"
    return {permission(request) for request in cluster.requests}


def allowed(role):
    return {
        combination
        for rule in role["rules"]
        for combination in product(rule["apiGroups"], rule["resources"], rule["verbs"])
    }


def test_launcher_may_do_what_it_asks_for_and_no_more(objects, needed):
    assert ("kubeflow.org", "pytorchjobs", "create") in needed
    assert allowed(one(objects, "Role", "meditron-launcher")) == needed


def test_no_role_has_wildcards_or_reaches_beyond_the_namespace(objects):
    assert not of_kind(objects, "ClusterRole") + of_kind(objects, "ClusterRoleBinding")
    for role in of_kind(objects, "Role"):
        assert not any("*" in combination for combination in allowed(role))


def test_secrets_can_only_be_read_by_name(objects):
    rules = [rule for role in of_kind(objects, "Role") for rule in role["rules"] if "secrets" in rule["resources"]]
    assert [(rule["verbs"], rule["resourceNames"]) for rule in rules] == [(["get"], ["mlpipeline-minio-artifact"])]


def test_only_steps_may_call_the_api(objects):
    accounts = {entry["metadata"]["name"]: entry for entry in of_kind(objects, "ServiceAccount")}
    bound = {
        subject["name"] for binding in of_kind(objects, "RoleBinding") for subject in binding["subjects"]
    } & accounts.keys()
    assert bound == {"meditron-steps"}
    assert all(accounts[name].get("automountServiceAccountToken") is False for name in accounts.keys() - bound)


def test_bindings_name_roles_that_exist(objects):
    roles = {role["metadata"]["name"] for role in of_kind(objects, "Role")}
    assert {binding["roleRef"]["name"] for binding in of_kind(objects, "RoleBinding")} == roles
