"""The launcher's Role allows the calls that its code makes to the Kubernetes API, and no others."""

import ast
import importlib
from itertools import product

from kubernetes import client

from tests.manifests.rendering import ROOT, of_kind, one

LAUNCHER = ROOT / "components" / "platform" / "launcher"
VERBS = {"create": "create", "get": "get", "read": "get", "list": "list", "patch": "patch", "delete": "delete"}
CORE = {"pod": "pods", "pod_log": "pods/log", "event": "events", "secret": "secrets"}
CUSTOM = "namespaced_custom_object"


def calls():
    """Methods of the Kubernetes client that the launcher names; nothing else in a step calls the API."""
    apis = (client.CoreV1Api, client.CustomObjectsApi, client.BatchV1Api)
    methods = {name for api in apis for name in dir(api) if name.partition("_")[0] in VERBS}
    trees = [ast.parse(path.read_text()) for path in LAUNCHER.glob("*.py")]
    named = {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert "Watch" not in named  # it would turn a list into a watch
    return named & methods


def job_kinds():
    """(API group, plural) of each kind of job the launcher writes."""
    names = [f"components.platform.launcher.{path.stem}" for path in LAUNCHER.glob("*_spec.py")]
    modules = [importlib.import_module(name) for name in names]
    return {(module.GROUP, module.PLURAL) for module in modules if hasattr(module, "PLURAL")}


def needed():
    """(group, resource, verb) of each call."""
    result = set()
    for call in calls():
        verb, _, what = call.partition("_")
        if what == CUSTOM:
            result |= {(group, plural, VERBS[verb]) for group, plural in job_kinds()}
        else:
            result.add(("", CORE[what.removeprefix("namespaced_")], VERBS[verb]))
    return result


def allowed(role):
    return {
        combination
        for rule in role["rules"]
        for combination in product(rule["apiGroups"], rule["resources"], rule["verbs"])
    }


def test_launcher_may_do_what_its_code_does_and_no_more(objects):
    assert ("kubeflow.org", "pytorchjobs", "create") in needed()
    assert allowed(one(objects, "Role", "meditron-launcher")) == needed()


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
