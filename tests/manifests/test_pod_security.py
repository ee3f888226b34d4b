"""Our pods keep to the restricted pod security standard; the namespace admits the training pods as they are."""

import pytest

from components.platform.launcher import JobSpec
from components.platform.launcher.pytorchjob_spec import to_pytorchjob
from pipelines.recipe import load_recipe
from tests.manifests.rendering import one, pod_templates

# Capabilities that the levels let a container add (kubernetes.io, "Pod Security Standards").
BASELINE = {
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
    *("NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
}
ADDABLE = {"restricted": {"NET_BIND_SERVICE"}, "baseline": BASELINE}


def test_pods_are_restricted(objects):
    for template in pod_templates(objects).values():
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert all(volume.keys() & {"configMap", "emptyDir", "persistentVolumeClaim"} for volume in pod["volumes"])
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}


def test_root_filesystems_are_read_only_and_scratch_is_bounded(objects):
    for template in pod_templates(objects).values():
        for container in template["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}
        for volume in template["spec"]["volumes"]:
            assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": None})


def test_no_pod_of_ours_holds_a_token_or_reads_service_links(objects):
    for template in pod_templates(objects).values():
        assert template["spec"]["automountServiceAccountToken"] is False
        assert template["spec"]["enableServiceLinks"] is False  # MLFLOW_PORT=tcp://... would be taken for an option


@pytest.mark.parametrize("recipe", ["meditron-7b", "meditron-70b"])
def test_namespace_admits_training_pods(objects, recipe):
    level = one(objects, "Namespace", "meditron")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    job = to_pytorchjob(JobSpec("pretrain", "m", (), 8, 2), load_recipe(recipe).platform.launcher)
    for replica in job["spec"]["pytorchReplicaSpecs"].values():
        for container in replica["template"]["spec"]["containers"]:
            added = set(container.get("securityContext", {}).get("capabilities", {}).get("add", []))
            assert added <= ADDABLE.get(level, added)
