"""What one object names, another one is."""

from tests.manifests.rendering import of_kind, one, pod_templates


def names(objects, kind):
    return {entry["metadata"]["name"] for entry in of_kind(objects, kind)}


def containers(objects):
    return [container for template in pod_templates(objects).values() for container in template["spec"]["containers"]]


def test_secrets_and_their_keys_exist(objects):
    keys = {entry["metadata"]["name"]: set(entry["data"]) for entry in of_kind(objects, "Secret")}
    used = set()
    for container in containers(objects):
        for variable in container.get("env", []):
            if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                assert reference["key"] in keys[reference["name"]]
                used.add(reference["name"])
        used |= {source["secretRef"]["name"] for source in container.get("envFrom", [])}
    assert used == set(keys)


def test_config_maps_claims_and_service_accounts_exist(objects):
    claims = names(objects, "PersistentVolumeClaim")
    for template in pod_templates(objects).values():
        pod = template["spec"]
        assert pod["serviceAccountName"] in names(objects, "ServiceAccount")
        assert pod.get("priorityClassName") in names(objects, "PriorityClass") | {None}
        for volume in pod["volumes"]:
            if "configMap" in volume:
                assert volume["configMap"]["name"] in names(objects, "ConfigMap")
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims


def test_mounts_have_volumes(objects):
    made = {
        entry["metadata"]["name"]: {
            claim["metadata"]["name"] for claim in entry["spec"].get("volumeClaimTemplates", [])
        }
        for entry in of_kind(objects, "StatefulSet")
    }
    for name, template in pod_templates(objects).items():
        volumes = {volume["name"] for volume in template["spec"]["volumes"]} | made.get(name, set())
        mounted = {mount["name"] for container in template["spec"]["containers"] for mount in container["volumeMounts"]}
        assert mounted == volumes


def test_services_lead_to_a_port_of_their_pods(objects):
    for service in of_kind(objects, "Service"):
        (pod,) = [
            template["spec"]
            for template in pod_templates(objects).values()
            if service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
        ]
        open_ports = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}
        for port in service["spec"]["ports"]:
            assert open_ports[port["targetPort"]] == port["port"]


def test_probes_use_a_port_of_their_container(objects):
    for container in containers(objects):
        ports = {port["name"] for port in container.get("ports", [])}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if "httpGet" in container.get(probe, {}):
                assert container[probe]["httpGet"]["port"] in ports


def test_workloads_select_their_own_pods(objects):
    for entry in of_kind(objects, "Deployment") + of_kind(objects, "StatefulSet"):
        labels = entry["spec"]["template"]["metadata"]["labels"]
        assert entry["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_images_have_a_version(objects):
    for container in containers(objects):
        name, _, tag = container["image"].partition(":")
        assert name
        assert tag not in ("", "latest")


def test_servers_have_probes_and_all_containers_have_limits(objects):
    for name, template in pod_templates(objects).items():
        (container,) = template["spec"]["containers"]
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]
        if name != "mlflow-user":
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()


def test_user_job_and_server_agree(objects):
    job = one(objects, "Job", "mlflow-user")["spec"]["template"]["spec"]["containers"][0]
    address = next(variable["value"] for variable in job["env"] if variable["name"] == "MLFLOW_TRACKING_URI")
    port = one(objects, "Service", "mlflow")["spec"]["ports"][0]["port"]
    assert address == f"http://mlflow:{port}"
