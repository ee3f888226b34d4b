"""Runs a job as a Kubeflow PyTorchJob; the only module that imports kubernetes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from kubernetes import client, config
from urllib3.exceptions import HTTPError

from components.platform.launcher.job import INTERRUPTED_EXIT_CODE, JobSpec, LaunchError, LaunchInterrupted
from components.platform.launcher.pytorchjob_spec import (
    GROUP,
    HASH_LABEL,
    PLURAL,
    VERSION,
    Submitter,
    to_pytorchjob,
)
from components.platform.launcher.settings import LauncherSettings
from components.platform.launcher.signals import stop_signals

T = TypeVar("T")

TAIL_LINES = 50
FIRST_LOG_LINES = 1000  # shown of a job that was running already
OUTAGE_SECONDS = 600  # how long the API server may be away before we give up watching
REQUEST_SECONDS = 30


def run_pytorchjob(job: JobSpec, settings: LauncherSettings) -> None:
    """Submit `job`, or find it submitted by an earlier launcher, and watch it to its end.

    Raises:
        LaunchInterrupted: this process was told to stop; the job was deleted, its ranks had their grace period.
        LaunchError: the job failed or ran out of time, or the API server could not be reached for long.
    """
    _find_cluster()
    submitter = Submitter.from_environment()
    watcher = _Watcher(job, settings, to_pytorchjob(job, settings, submitter))
    with stop_signals(_raise_stop):
        try:
            watcher.submit(submitter)
            watcher.wait()
        except _Stopped as stopped:
            watcher.delete()
            raise LaunchInterrupted(
                f"{job.name} stopped because {stopped}; PyTorchJob {watcher.name} is deleted, its ranks have "
                f"{settings.grace_seconds:.0f} s for a checkpoint"
            ) from None


def _find_cluster() -> None:
    """Use the cluster this pod runs in, else the one that KUBECONFIG or ~/.kube/config names."""
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config()
        else:
            config.load_kube_config(os.environ.get("KUBECONFIG"))
    except config.ConfigException as error:
        raise LaunchError(f"no Kubernetes cluster to run a PyTorchJob on: {error}") from None


class _Stopped(BaseException):
    """Leaves whatever the main thread is waiting for; not an Exception, so that no retry swallows it."""


def _raise_stop(reason: str) -> NoReturn:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # nothing may interrupt the deletion
    raise _Stopped(reason)


class _Watcher:
    """One PyTorchJob on the cluster."""

    def __init__(self, job: JobSpec, settings: LauncherSettings, body: dict[str, Any]) -> None:
        self.name: str = body["metadata"]["name"]
        self._job = job
        self._settings = settings
        self._pods = settings.pytorchjob
        self._body = body
        self._address = {"group": GROUP, "version": VERSION, "namespace": self._pods.namespace, "plural": PLURAL}
        self._jobs, self._core = client.CustomObjectsApi(), client.CoreV1Api()
        self._log_read: float | None = None  # time.monotonic() of the last reading
        self._last_timestamp = ""
        self._last_state = ""

    def submit(self, submitter: Submitter) -> None:
        """Create the job; adopt it when it is there already, unless it is a failed attempt: that is replaced."""
        while not self._create():
            existing = self._get()
            if existing is None:
                continue  # it went just now
            if existing["metadata"].get("labels", {}).get(HASH_LABEL) != self._body["metadata"]["labels"][HASH_LABEL]:
                raise LaunchError(f"{self._job.name}: another PyTorchJob is called {self.name}; delete or rename it")
            if "deletionTimestamp" not in existing["metadata"]:
                if _condition(existing, "Failed") is None:
                    self._say("found it already submitted")
                    self._adopt(submitter)
                    return
                self.delete()
            time.sleep(self._pods.poll_seconds)

    def wait(self) -> None:
        """Pass the log of rank 0 on until the job has succeeded."""
        pending = running = 0.0
        before = time.monotonic()
        while True:
            current = self._get()
            if current is None:
                raise LaunchError(f"{self._job.name}: PyTorchJob {self.name} was deleted by someone else")
            pods = self._list_pods()
            self._pass_log_on(pods)
            if _condition(current, "Succeeded") is not None:
                return
            if (failure := _condition(current, "Failed")) is not None:
                self._raise_failure(failure, pods)
            now = time.monotonic()
            if self._all_run(pods):
                running += now - before
                self._say("running")
            else:
                pending += now - before
                self._say(f"waiting for pods{_why_pending(pods)}")
            before = now
            self._check_times(pending, running)
            time.sleep(self._pods.poll_seconds)

    def delete(self) -> None:
        def call() -> None:
            self._jobs.delete_namespaced_custom_object(
                **self._address, name=self.name, propagation_policy="Background", _request_timeout=REQUEST_SECONDS
            )

        _unless(404, call)

    def _create(self) -> bool:
        def call() -> bool:
            self._jobs.create_namespaced_custom_object(
                **self._address, body=self._body, _request_timeout=REQUEST_SECONDS
            )
            return True

        created = bool(self._patiently(lambda: _unless(409, call)))
        if created:
            self._say("submitted")
        return created

    def _get(self) -> dict[str, Any] | None:
        def call() -> dict[str, Any]:
            return self._jobs.get_namespaced_custom_object(
                **self._address, name=self.name, _request_timeout=REQUEST_SECONDS
            )

        return self._patiently(lambda: _unless(404, call))

    def _adopt(self, submitter: Submitter) -> None:
        """Make the job belong to our pod: that of the launcher before us may be removed any time."""
        if owners := submitter.owner_references():
            self._jobs.patch_namespaced_custom_object(
                **self._address, name=self.name, body={"metadata": {"ownerReferences": owners}}
            )

    def _list_pods(self) -> list[client.V1Pod]:
        selector = f"training.kubeflow.org/job-name={self.name}"
        return self._patiently(
            lambda: self._core.list_namespaced_pod(
                self._pods.namespace, label_selector=selector, _request_timeout=REQUEST_SECONDS
            )
        ).items

    def _all_run(self, pods: list[client.V1Pod]) -> bool:
        return sum(pod.status.phase in ("Running", "Succeeded") for pod in pods) >= self._job.nnodes

    def _check_times(self, pending: float, running: float) -> None:
        limits = [
            (running, self._settings.timeout_seconds, "ran longer than launcher.timeout_seconds"),
            (
                pending,
                self._pods.pending_timeout_seconds,
                "waited longer than launcher.pytorchjob.pending_timeout_seconds",
            ),
        ]
        for seconds, limit, text in limits:
            if seconds > limit:
                self.delete()
                raise LaunchError(f"{self._job.name}: {text}={limit}; PyTorchJob {self.name} is deleted")

    def _pass_log_on(self, pods: list[client.V1Pod]) -> None:
        """Print what rank 0's pod has written since the last time, however often the connection broke."""
        label = "training.kubeflow.org/replica-type"
        master = next((pod for pod in pods if pod.metadata.labels.get(label, "").lower() == "master"), None)
        if master is None or master.status.phase == "Pending":
            return
        now = time.monotonic()
        window = (
            {"tail_lines": FIRST_LOG_LINES}
            if self._log_read is None
            else {"since_seconds": int(now - self._log_read) + 5}
        )
        for line in self._read_log(master, timestamps=True, **window).splitlines():
            timestamp, _, text = line.partition(" ")
            if timestamp > self._last_timestamp:
                self._last_timestamp = timestamp
                print(text, flush=True)
        self._log_read = now

    def _read_log(self, pod: client.V1Pod, **options: Any) -> str:
        def call() -> bytes:
            return self._core.read_namespaced_pod_log(
                pod.metadata.name,
                self._pods.namespace,
                _preload_content=False,  # or the client would interpret lines that look like JSON
                _request_timeout=REQUEST_SECONDS,
                **options,
            ).data

        log = self._patiently(lambda: _unless(404, lambda: _unless(400, call)))  # not there yet, or not any more
        return (log or b"").decode(errors="replace")

    def _raise_failure(self, condition: dict[str, Any], pods: list[client.V1Pod]) -> NoReturn:
        """Tell of the pod that failed first, with the end of its log."""
        failed = [(end, pod) for pod in pods if (end := _failed_end(pod)) is not None]
        if not failed:
            raise LaunchError(f"{self._job.name}: PyTorchJob {self.name} failed: {condition.get('message', '')}")
        end, pod = min(failed, key=lambda entry: entry[0].finished_at)
        if {failed_end.exit_code for failed_end, _ in failed} == {INTERRUPTED_EXIT_CODE}:
            raise LaunchInterrupted(
                f"{self._job.name} stopped because a rank asked for it; a checkpoint is saved, start it again to go on"
            )
        tail = self._read_log(pod, tail_lines=TAIL_LINES).rstrip()
        raise LaunchError(
            f"{self._job.name}: pod {pod.metadata.name} failed (exit code {end.exit_code}, {end.reason})\n{tail}"
        )

    def _patiently(self, call: Callable[[], T]) -> T:
        """Call until the API server answers; it may be away for a while without harm to the job."""
        deadline = time.monotonic() + OUTAGE_SECONDS
        while True:
            try:
                return call()
            except (client.ApiException, HTTPError) as error:
                is_passing = not isinstance(error, client.ApiException) or error.status == 429 or error.status >= 500
                if not is_passing or time.monotonic() > deadline:
                    raise LaunchError(f"{self._job.name}: the Kubernetes API refused: {error}") from None
                time.sleep(self._pods.poll_seconds)

    def _say(self, state: str) -> None:
        if state != self._last_state:
            print(f"{self._job.name}  PyTorchJob {self.name}: {state}", flush=True)
            self._last_state = state


def _unless(status: int, call: Callable[[], T]) -> T | None:
    """What `call` returns, or None when the API answers with `status`."""
    try:
        return call()
    except client.ApiException as error:
        if error.status != status:
            raise
        return None


def _condition(job: dict[str, Any], kind: str) -> dict[str, Any] | None:
    conditions = job.get("status", {}).get("conditions") or []
    return next((entry for entry in conditions if entry["type"] == kind and entry["status"] == "True"), None)


def _failed_end(pod: client.V1Pod) -> client.V1ContainerStateTerminated | None:
    for container in pod.status.container_statuses or []:
        if container.state.terminated is not None and container.state.terminated.exit_code != 0:
            return container.state.terminated
    return None


def _why_pending(pods: list[client.V1Pod]) -> str:
    """The scheduler's reason, if it has given one."""
    for pod in pods:
        for condition in pod.status.conditions or []:
            if condition.type == "PodScheduled" and condition.status == "False" and condition.message:
                return f": {condition.message}"
    return ""
