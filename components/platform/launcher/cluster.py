"""The Kubernetes API, as far as jobs need it; the only module of the launcher that imports kubernetes."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from kubernetes import client
from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError

from components.platform.kubernetes_config import cluster_configuration
from components.platform.launcher.job import LaunchError
from components.platform.launcher.kinds import JobKind
from components.platform.launcher.streams import ConflictError, ExpiredError, NotThereError, Stream, UnavailableError

T = TypeVar("T")

OUTAGE_SECONDS = 600  # how long the API server may be away before we give up
DELETE_SECONDS = 20  # the same when we were told to stop: we are killed 30 s after that
REQUEST_SECONDS = 30
STREAM_SECONDS = 300  # how long a stream may be silent; then it is opened anew, for the connection may be dead


class Cluster:
    """Jobs, pods, logs and events of one namespace."""

    def __init__(self, namespace: str, retry_seconds: float, streams: int = 10) -> None:
        """Use the cluster that `cluster_configuration` finds.

        Args:
            retry_seconds: time until a request is tried again.
            streams: how many will be open at once.

        Raises:
            UserError: there is no cluster.
        """
        settings = cluster_configuration()
        settings.retries = False  # we try again ourselves
        settings.connection_pool_maxsize = streams + 10
        self._client = client.ApiClient(settings)
        self._namespace = namespace
        self._retry_seconds = retry_seconds
        self._jobs, self._core = client.CustomObjectsApi(self._client), client.CoreV1Api(self._client)

    def create(self, kind: JobKind, body: Mapping[str, Any]) -> bool:
        """Whether it was created: False when one of that name is there."""
        try:
            self._patiently(self._jobs.create_namespaced_custom_object, **self._of(kind), body=body)
        except ConflictError:
            return False
        return True

    def get(self, kind: JobKind, name: str) -> dict[str, Any] | None:
        with contextlib.suppress(NotThereError):
            return self._patiently(self._jobs.get_namespaced_custom_object, **self._of(kind), name=name)
        return None

    def jobs(self, kind: JobKind, selector: str) -> list[dict[str, Any]]:
        """Jobs with these labels; none where the cluster does not know the kind."""
        with contextlib.suppress(NotThereError):
            listing = self._jobs.list_namespaced_custom_object
            return self._patiently(listing, **self._of(kind), label_selector=selector)["items"]
        return []

    def set_owners(self, kind: JobKind, name: str, owners: list[dict[str, Any]]) -> None:
        body = {"metadata": {"ownerReferences": owners}}
        with contextlib.suppress(NotThereError):
            self._patiently(self._jobs.patch_namespaced_custom_object, **self._of(kind), name=name, body=body)

    def delete(self, kind: JobKind, name: str) -> None:
        delete = self._jobs.delete_namespaced_custom_object
        with contextlib.suppress(NotThereError):
            self._patiently(delete, outage=DELETE_SECONDS, **self._of(kind), name=name, propagation_policy="Background")

    def job_source(self, kind: JobKind, name: str) -> Source:
        listing = self._jobs.list_namespaced_custom_object
        return Source(self, listing, self._of(kind) | {"field_selector": f"metadata.name={name}"})

    def pod_source(self, selector: str) -> Source:
        return self._pods(label_selector=selector)

    def events(self, about: str) -> list[dict[str, Any]]:
        """Events of one object; none where we may not read them, for they are only a help."""
        try:
            response = self._ask(
                self._core.list_namespaced_event,
                namespace=self._namespace,
                field_selector=f"involvedObject.name={about}",
                _preload_content=False,
            )
            return json.loads(response.data)["items"]
        except (client.ApiException, UnavailableError):
            return []

    def open_log(self, pod: str, uid: str, container: str, since: str | None, tail: int | None) -> Stream:
        """Follow a log, each line with its time in front.

        Args:
            uid: of the pod, for another one may take its name.
            since: RFC 3339 time, whole seconds: the kubelet looks no closer. The generated client does not know it.
            tail: number of last lines to begin with.

        Raises:
            NotThereError, UnavailableError, LaunchError.
        """
        query = {"container": container, "follow": "true", "timestamps": "true", "sinceTime": since, "tailLines": tail}
        stream = self._stream(
            self._client.call_api,
            f"/api/v1/namespaces/{self._namespace}/pods/{pod}/log",
            "GET",
            query_params=[(key, value) for key, value in query.items() if value is not None],
            auth_settings=["BearerToken"],
            _return_http_data_only=True,
        )
        # If it is there now, it was there when its log was opened
        found = Source(
            self,
            self._core.list_namespaced_pod,
            {"namespace": self._namespace, "field_selector": f"metadata.name={pod}"},
        )
        if uid not in {item["metadata"]["uid"] for item in found.list()[0]}:
            stream.close()
            raise NotThereError
        return stream

    def read_log(self, pod: str, container: str, tail: int) -> str:
        """The last lines of a log; empty where there is none."""
        with contextlib.suppress(NotThereError):
            response = self._patiently(
                self._core.read_namespaced_pod_log,
                name=pod,
                namespace=self._namespace,
                container=container,
                tail_lines=tail,
                _preload_content=False,  # or the client would interpret lines that look like JSON
            )
            return response.data.decode(errors="replace")
        return ""

    def request(self, method: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """One request.

        Raises:
            UnavailableError: try again later.
            ConflictError, ExpiredError, NotThereError.
            LaunchError: the API server refuses.
        """
        try:
            return self._ask(method, *arguments, **options)
        except client.ApiException as error:
            if error.status == 409:
                raise ConflictError from None
            if error.status == 410:
                raise ExpiredError from None
            if error.status == 404 or (error.status == 400 and "waiting to start" in str(error.body)):
                raise NotThereError from None
            raise _refusal(error) from None

    def _stream(self, method: Callable[..., HTTPResponse], *arguments: Any, **options: Any) -> Stream:
        timeouts = (REQUEST_SECONDS, STREAM_SECONDS + REQUEST_SECONDS)
        options |= {"_preload_content": False, "_request_timeout": timeouts}
        return Stream(self.request(method, *arguments, **options))

    def _patiently(
        self, method: Callable[..., T], *arguments: Any, outage: float = OUTAGE_SECONDS, **options: Any
    ) -> T:
        """Ask until the API server answers; it may be away for a while without harm to the job."""
        deadline = time.monotonic() + outage
        while True:
            try:
                return self.request(method, *arguments, **options)
            except UnavailableError as error:
                if time.monotonic() > deadline:
                    raise LaunchError(f"the Kubernetes API did not answer for {outage:.0f} s: {error}") from None
                time.sleep(max(self._retry_seconds, error.retry_after))

    def _ask(self, method: Callable[..., T], *arguments: Any, **options: Any) -> T:
        try:
            return method(*arguments, **{"_request_timeout": REQUEST_SECONDS} | options)
        except client.ApiException as error:
            if error.status == 429 or error.status >= 500:
                retry_after = (error.headers or {}).get("Retry-After", "")
                seconds = int(retry_after) if retry_after.isdigit() else 0
                raise UnavailableError(f"{error.status} {error.reason}", seconds) from None
            raise
        except (HTTPError, OSError) as error:
            raise UnavailableError(str(error)) from None

    def _pods(self, **selector: str) -> Source:
        return Source(self, self._core.list_namespaced_pod, {"namespace": self._namespace} | selector)

    def _of(self, kind: JobKind) -> dict[str, str]:
        return {"group": kind.group, "version": kind.version, "namespace": self._namespace, "plural": kind.plural}


class Source:
    """Objects that can be listed, and watched from the moment of the list on."""

    def __init__(self, cluster: Cluster, listing: Callable[..., Any], options: dict[str, Any]) -> None:
        self._cluster = cluster
        self._listing = listing
        self._options = options

    def list(self) -> tuple[list[dict[str, Any]], str]:
        """The objects, and the version that they were listed at."""
        response = self._cluster.request(self._listing, **self._options, _preload_content=False)
        listed = json.loads(response.data)
        return listed["items"], listed["metadata"]["resourceVersion"]

    def watch(self, version: str) -> Stream:
        """JSON lines: what has changed since `version`, as it changes."""
        return self._cluster._stream(
            self._listing,
            **self._options,
            watch=True,
            resource_version=version,
            allow_watch_bookmarks=True,
            timeout_seconds=STREAM_SECONDS,
        )


def _refusal(error: client.ApiException) -> LaunchError:
    try:
        message = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        message = error.reason
    return LaunchError(f"the Kubernetes API refused ({error.status}): {message}")
