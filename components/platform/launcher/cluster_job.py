"""Runs a job on a cluster: submits it or finds it submitted, waits for its end, and says how it ended."""

from __future__ import annotations

import signal
import threading
import time
from datetime import timedelta
from typing import Any, NoReturn

from components.platform.launcher.bandwidth_gate import gate_job, gate_settings
from components.platform.launcher.cluster import OUTAGE_SECONDS, Cluster
from components.platform.launcher.identity import HASH_LABEL, Submitter
from components.platform.launcher.job import JobSpec, LaunchError, LaunchInterrupted
from components.platform.launcher.kinds import KINDS
from components.platform.launcher.logs import JobLogs
from components.platform.launcher.settings import LauncherSettings
from components.platform.launcher.signals import stop_signals
from components.platform.launcher.status import Event, JobStatus, PodStatus, event, job_status, pod_status
from components.platform.launcher.triage import cannot_start, explain_failure, was_interrupted, why_waiting
from components.platform.launcher.watching import Watched

Raw = dict[str, Any]  # an object as the API has it

LAST_NEWS_SECONDS = 20  # time for the last changes and the last lines of the logs to come


def run_on_cluster(job: JobSpec, settings: LauncherSettings) -> None:
    """Submit `job`, or find it submitted by an earlier launcher, and watch it to its end.

    Raises:
        LaunchInterrupted: this process was told to stop (the job was deleted, its ranks had their grace period), or
            the job's ranks were, and saved a checkpoint.
        LaunchError: the job failed or ran out of time, or the API server could not be reached for long.
    """
    cluster = Cluster(settings.pytorchjob.namespace, settings.pytorchjob.poll_seconds, streams=job.nnodes)
    work = current = _ClusterJob(job, settings, cluster)
    with stop_signals(_raise_stop):
        try:
            # A job that is there already holds the pods that would be measured
            if settings.min_bus_bandwidth_gb_per_second is not None and job.nnodes > 1 and not work.is_there():
                current = _ClusterJob(gate_job(job, settings), gate_settings(settings), cluster)
                current.run()
                current.delete()  # what it measured holds for this attempt alone
                current = work
            work.run()
        except _Stopped as stopped:
            current.delete()
            raise LaunchInterrupted(
                f"{job.name} stopped because {stopped}; {current} is deleted, its ranks have "
                f"{settings.grace_seconds:.0f} s for a checkpoint"
            ) from None


class _Stopped(BaseException):
    """Leaves whatever the main thread is waiting for; not an Exception, so that no retry swallows it."""


def _raise_stop(reason: str) -> NoReturn:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # nothing may interrupt the deletion
    raise _Stopped(reason)


class _ClusterJob:
    """One job on the cluster, and what was seen of it."""

    def __init__(self, job: JobSpec, settings: LauncherSettings, cluster: Cluster) -> None:
        self._job, self._settings, self._cluster = job, settings, cluster
        self._kind = KINDS[settings.kind]
        self._pods = settings.pytorchjob
        self._submitter = Submitter.from_environment()
        self._body = self._kind.translate(job, settings, self._submitter)
        self._name: str = self._body["metadata"]["name"]
        self._selector = f"{self._kind.job_label}={self._name}"
        self._failed_pods: dict[str, PodStatus] = {}  # by uid, those included that are replaced
        self._last_state = ""

    def __str__(self) -> str:
        return f"{self._kind.name} {self._name}"

    def is_there(self) -> bool:
        """Whether an earlier launcher has submitted it, and it has not failed."""
        existing = self._cluster.get(self._kind, self._name)
        return existing is not None and self._kind.failed not in job_status(existing).conditions

    def run(self) -> None:
        adopted = self._submit()
        self._wait(adopted)

    def delete(self) -> None:
        self._cluster.delete(self._kind, self._name)

    def _submit(self) -> bool:
        """Create the job; adopt it when it is there already, unless it is a failed attempt: that is replaced.

        Returns:
            Whether it was adopted.
        """
        while not self._cluster.create(self._kind, self._body):
            existing = self._cluster.get(self._kind, self._name)
            if existing is None:
                continue  # it went just now
            if existing["metadata"].get("labels", {}).get(HASH_LABEL) != self._body["metadata"]["labels"][HASH_LABEL]:
                raise LaunchError(
                    f"{self._job.name}: another {self._kind.name} is called {self._name}; delete or rename it"
                )
            if "deletionTimestamp" not in existing["metadata"]:
                if self._kind.failed not in job_status(existing).conditions:
                    self._say("found it already submitted")
                    # That of the launcher before us may be removed any time
                    if owners := self._submitter.owner_references():
                        self._cluster.set_owners(self._kind, self._name, owners)
                    return True
                self.delete()
            time.sleep(self._pods.poll_seconds)
        self._say("submitted")
        return False

    def _wait(self, adopted: bool) -> None:
        """Pass the logs on until the job has succeeded."""
        changed, retry = threading.Event(), self._pods.poll_seconds
        jobs = Watched(self._cluster.job_source(self._kind, self._name), changed, retry)
        pods = Watched(self._cluster.pod_source(self._selector), changed, retry)
        logs = JobLogs(self._cluster, self._kind.container, retry, adopted)
        clock = _Clock(self._pods.start_error_grace_seconds)
        try:
            while True:
                changed.wait(retry)
                changed.clear()
                if max(jobs.seconds_away(), pods.seconds_away()) > OUTAGE_SECONDS:
                    raise LaunchError(f"{self._job.name}: the Kubernetes API did not answer for {OUTAGE_SECONDS} s")
                if (listed := jobs.objects()) is not None and self._look(listed, pods, logs, clock):
                    return
        finally:
            for watched in (jobs, pods, logs):
                watched.close()

    def _look(self, jobs: list[Raw], watched: Watched, logs: JobLogs, clock: _Clock) -> bool:
        """Whether the job has succeeded."""
        if not jobs:
            raise LaunchError(f"{self._job.name}: {self} was deleted by someone else")
        job = job_status(jobs[0])
        has_ended = bool({self._kind.succeeded, self._kind.failed} & job.conditions.keys())
        if has_ended:
            watched.catch_up(LAST_NEWS_SECONDS)
        pods = self._of_this_attempt(jobs[0], watched.objects() or [])
        gone = self._of_this_attempt(jobs[0], watched.gone())
        self._failed_pods |= {pod.uid: pod for pod in (*gone, *pods) if pod.failed}
        logs.look(pods)
        if has_ended:
            logs.finish(pods, LAST_NEWS_SECONDS)
        if self._kind.succeeded in job.conditions:
            self._say(f"succeeded, after {clock}")
            return True
        if self._kind.failed in job.conditions:
            self._raise_failure(job, pods, logs)
        runs = sum(pod.started for pod in pods) >= self._job.nnodes
        clock.count(runs)
        if runs:
            self._say("running")
        else:
            self._check_start(job, pods, clock)
        self._check_times(job, pods, clock)
        return False

    def _of_this_attempt(self, job: Raw, pods: list[Raw]) -> list[PodStatus]:
        """Pods of a failed job of the same name, which this one replaces, may still be there."""
        created = job["metadata"]["creationTimestamp"]
        return [pod_status(pod, self._kind) for pod in pods if pod["metadata"]["creationTimestamp"] >= created]

    def _check_start(self, job: JobStatus, pods: list[PodStatus], clock: _Clock) -> None:
        """Say why the pods don't run yet, and give up where they never will."""
        events = self._events(pods)
        reason = why_waiting(job, pods, events)
        self._say(f"waiting for pods{f': {reason.cause}' if reason else ''}")
        never = cannot_start(pods, events)
        if clock.stuck_for_long(never is not None):
            self.delete()
            raise LaunchError(f"{self._job.name}: its pods can't start: {never}\n{self} is deleted")

    def _check_times(self, job: JobStatus, pods: list[PodStatus], clock: _Clock) -> None:
        limits = {
            "ran longer than launcher.timeout_seconds": (clock.running, self._settings.timeout_seconds),
            "waited longer than launcher.pytorchjob.pending_timeout_seconds": (
                clock.pending,
                self._pods.pending_timeout_seconds,
            ),
        }
        for text, (seconds, limit) in limits.items():
            if seconds > limit:
                reason = why_waiting(job, pods, self._events(pods))
                self.delete()
                raise LaunchError(
                    f"{self._job.name}: {text}={limit}; {self} is deleted" + (f"\n{reason}" if reason else "")
                )

    def _raise_failure(self, job: JobStatus, pods: list[PodStatus], logs: JobLogs) -> NoReturn:
        failed = list(self._failed_pods.values())
        if was_interrupted(failed):
            raise LaunchInterrupted(
                f"{self._job.name} stopped because a rank asked for it; a checkpoint is saved, start it again to go on"
            )
        tails = {pod.uid: logs.tail(pod) for pod in failed}
        message = explain_failure(job, self._kind.failed, failed, self._events(pods), tails)
        raise LaunchError(f"{self._job.name}: {message}")

    def _events(self, pods: list[PodStatus]) -> list[Event]:
        names = [self._name, *[pod.name for pod in pods if not pod.started][:1]]
        return [event(raw) for name in names for raw in self._cluster.events(name)]

    def _say(self, state: str) -> None:
        if state != self._last_state:
            print(f"{self._job.name}  {self}: {state}", flush=True)
            self._last_state = state


class _Clock:
    """Time in the queue and time at work, counted apart: queues are normal."""

    def __init__(self, start_error_grace_seconds: float) -> None:
        self.pending = self.running = 0.0
        self._grace = start_error_grace_seconds
        self._before = time.monotonic()
        self._stuck_since: float | None = None

    def count(self, runs: bool) -> None:
        now = time.monotonic()
        if runs:
            self.running += now - self._before
            self._stuck_since = None
        else:
            self.pending += now - self._before
        self._before = now

    def stuck_for_long(self, is_stuck: bool) -> bool:
        self._stuck_since = (self._stuck_since or time.monotonic()) if is_stuck else None
        return is_stuck and time.monotonic() - self._stuck_since > self._grace

    def __str__(self) -> str:
        pending, running = (timedelta(seconds=round(seconds)) for seconds in (self.pending, self.running))
        return f"{pending} of waiting and {running} of running"
