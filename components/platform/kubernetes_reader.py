"""Questions to a Kubernetes cluster that change nothing: is it there, may we, is there room."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from kubernetes import client
from urllib3.exceptions import HTTPError

from components.platform.errors import UserError
from components.platform.kubernetes_config import cluster_configuration

T = TypeVar("T")

REQUEST_SECONDS = 30
PAGE_SIZE = 500
GPU = "nvidia.com/gpu"
BLOCKING = ("NoSchedule", "NoExecute")


class KubernetesError(UserError):
    """The API server can't be reached, or refuses an answer."""


@dataclass(frozen=True)
class Node:
    """A node that takes pods.

    Attributes:
        gpus: that pods may have there.
        free: of those, not asked for by a pod.
        taints: (key, value, effect) of those that keep pods away.
    """

    name: str
    gpus: int
    free: int
    taints: tuple[tuple[str, str, str], ...] = ()

    def takes(self, tolerations: Sequence[Mapping[str, Any]]) -> bool:
        return all(any(_tolerates(toleration, *taint) for toleration in tolerations) for taint in self.taints)


class KubernetesReader:
    """Asks the cluster that `cluster_configuration` finds."""

    def __init__(self) -> None:
        """Raises UserError when there is none."""
        settings = cluster_configuration()
        settings.retries = 2
        self._client = client.ApiClient(settings)
        self._core = client.CoreV1Api(self._client)

    def serves(self, group: str, version: str, plural: str) -> bool:
        """Whether the cluster has this kind of object; any user may ask."""
        resources = self._ask(client.CustomObjectsApi(self._client).get_api_resources, group, version)
        return resources is not None and plural in {resource.name for resource in resources.resources}

    def may(self, verb: str, group: str, plural: str, namespace: str, user: str | None = None) -> bool:
        """Whether we may do so in the namespace, or `user` may, such as "system:serviceaccount:NAMESPACE:NAME"."""
        what = client.V1ResourceAttributes(group=group, resource=plural, verb=verb, namespace=namespace)
        reviews = client.AuthorizationV1Api(self._client)
        if user is None:
            mine = client.V1SelfSubjectAccessReviewSpec(resource_attributes=what)
            body = client.V1SelfSubjectAccessReview(spec=mine)
            return self._ask(reviews.create_self_subject_access_review, body).status.allowed
        body = client.V1SubjectAccessReview(spec=client.V1SubjectAccessReviewSpec(resource_attributes=what, user=user))
        return self._ask(reviews.create_subject_access_review, body).status.allowed

    def secret_keys(self, namespace: str, name: str) -> set[str] | None:
        """The keys of a secret, without their values; None when there is no such secret."""
        secret = self._ask(self._core.read_namespaced_secret, name, namespace)
        return None if secret is None else set(secret.data or {})

    def claim_access(self, namespace: str, name: str) -> set[str] | None:
        """How a volume claim can be mounted, such as {"ReadWriteMany"}; None when there is no such claim."""
        claim = self._ask(self._core.read_namespaced_persistent_volume_claim, name, namespace)
        return None if claim is None else set(claim.spec.access_modes or [])

    def has_account(self, namespace: str, name: str) -> bool:
        return self._ask(self._core.read_namespaced_service_account, name, namespace) is not None

    def nodes(self, selector: Mapping[str, str]) -> list[Node]:
        """Nodes with these labels that are ready and open for pods."""
        labels = ",".join(f"{key}={value}" for key, value in selector.items())
        nodes = [node for node in self._listed(self._core.list_node, label_selector=labels) if _is_open(node)]
        asked = dict.fromkeys((node.metadata.name for node in nodes), 0)
        alive = "status.phase!=Succeeded,status.phase!=Failed"
        for pod in self._listed(self._core.list_pod_for_all_namespaces, field_selector=alive):
            if pod.spec.node_name in asked:
                asked[pod.spec.node_name] += _gpus_of(pod)
        return [_node(node, asked[node.metadata.name]) for node in nodes]

    def _listed(self, listing: Callable[..., Any], **options: str) -> list[Any]:
        found, token = [], None
        while True:
            page = self._ask(listing, limit=PAGE_SIZE, _continue=token, **options)
            found += page.items
            token = page.metadata._continue
            if not token:
                return found

    def _ask(self, method: Callable[..., T], *arguments: Any, **options: Any) -> T | None:
        """One request; None when what is asked for is not there."""
        try:
            return method(*arguments, _request_timeout=REQUEST_SECONDS, **options)
        except client.ApiException as error:
            if error.status == 404:
                return None
            remedy = "; ask for that permission" if error.status == 403 else ""
            raise KubernetesError(f"Kubernetes: {method.__name__}: {error.status} {error.reason}{remedy}") from None
        except HTTPError as error:
            raise KubernetesError(f"Kubernetes can't be reached ({type(error).__name__}); check KUBECONFIG") from None


def _is_open(node: client.V1Node) -> bool:
    is_ready = any(state.type == "Ready" and state.status == "True" for state in node.status.conditions or [])
    return is_ready and not node.spec.unschedulable


def _node(node: client.V1Node, asked: int) -> Node:
    gpus = int((node.status.allocatable or {}).get(GPU, 0))
    taints = tuple((t.key, t.value or "", t.effect) for t in node.spec.taints or [] if t.effect in BLOCKING)
    return Node(node.metadata.name, gpus, gpus - asked, taints)


def _gpus_of(pod: client.V1Pod) -> int:
    """GPUs that the scheduler keeps for a pod: those of all containers, or of an init container that wants more."""
    together = sum(_requested(container) for container in pod.spec.containers)
    return max([together, *(_requested(container) for container in pod.spec.init_containers or [])])


def _requested(container: client.V1Container) -> int:
    resources = container.resources
    return int(((resources and resources.requests) or {}).get(GPU, 0))


def _tolerates(toleration: Mapping[str, Any], key: str, value: str, effect: str) -> bool:
    """As the scheduler matches them: no key stands for all keys, no effect for all effects."""
    if toleration.get("effect") not in (None, "", effect) or toleration.get("key") not in (None, "", key):
        return False
    return toleration.get("operator", "Equal") == "Exists" or toleration.get("value", "") == value
