"""What a Kubeflow Pipelines server has of a recipe: its pipeline, runs and schedule."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import kfp_server_api as api

from pipelines.cluster import KubeflowSettings
from pipelines.compiling import compile_submission
from pipelines.kfp_connection import Connection
from pipelines.run_state import PENDING, Node, Run, gathered, real_time, task_names
from pipelines.submission import Submission


@dataclass(frozen=True)
class PipelineVersion:
    """A compiled pipeline on the server."""

    pipeline_id: str
    id: str
    name: str
    is_new: bool


@dataclass(frozen=True)
class Schedule:
    """A recurring run."""

    id: str
    name: str
    cron: str
    is_enabled: bool
    description: str


class KfpServer:
    """The server that a recipe names. Every method raises KfpError when the server refuses or can't be reached."""

    def __init__(self, settings: KubeflowSettings) -> None:
        self.settings = settings
        self._connection = Connection(settings.host)
        self._client = self._connection.client
        self._task_names: dict[str, list[str]] = {}  # by the id of the pipeline version

    # The server itself

    @cached_property
    def _health(self) -> Mapping[str, Any]:
        ask = self._client.healthzs.healthz_service_get_healthz
        # As it comes: what the client makes of it leaves out the version.
        return json.loads(self._connection.call("asking for its health", ask, _preload_content=False).data)

    def version(self) -> str:
        """Such as "2.17.0"; "unknown" of a server that was not told its own."""
        return self._health.get("tag_name", "unknown")

    @cached_property
    def namespace(self) -> str | None:
        """What to name in requests: a server for a single user refuses any namespace."""
        return self.settings.namespace if self._health.get("multi_user") else None

    def page(self, run_id: str) -> str:
        """Address of the run's page; only what comes after the host where that is not known."""
        return f"{(self._connection.host or '').rstrip('/')}/#/runs/details/{run_id}"

    # Pipelines

    def upload(self, submission: Submission) -> PipelineVersion:
        """The compiled submission on the server; one that was uploaded before is found again by its name."""
        name, call = f"meditron-{submission.recipe.name}", self._connection.call
        services = self._client.pipelines
        known = self._connection.named(
            services.pipeline_service_list_pipelines, "pipelines", name, namespace=self.namespace
        )
        if known:
            pipeline_id = known[0].pipeline_id
        else:
            pipeline = api.V2beta1Pipeline(display_name=name, name=name, namespace=self.namespace)
            made = call(f"creating the pipeline {name}", services.pipeline_service_create_pipeline, pipeline)
            pipeline_id = made.pipeline_id
        listing, version_name = services.pipeline_service_list_pipeline_versions, submission.version_name
        versions = self._connection.named(listing, "pipeline_versions", version_name, pipeline_id=pipeline_id)
        if versions:
            return PipelineVersion(pipeline_id, versions[0].pipeline_version_id, version_name, is_new=False)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "pipeline.yaml")
            compile_submission(submission, path)
            uploaded = call(
                f"uploading {name}",
                self._client.pipeline_uploads.upload_pipeline_version,
                str(path),
                name=version_name,
                pipelineid=pipeline_id,
                description=f"code {submission.code}, commit {submission.commit or 'unknown'}",
            )
        return PipelineVersion(pipeline_id, uploaded.pipeline_version_id, version_name, is_new=True)

    # Runs

    def start(self, version: PipelineVersion, name: str) -> str:
        """Begin a run; its id."""
        run = api.V2beta1Run(experiment_id=self._experiment_id(), display_name=name, **self._what_and_how(version))
        return self._connection.call(f"starting {name}", self._client.runs.run_service_create_run, run).run_id

    def run(self, run_id: str) -> Run:
        """How far a run is; KfpError has the status 404 when there is no such run."""
        run = self._connection.call(f"run {run_id}", self._client.runs.run_service_get_run, run_id)
        details = run.run_details.task_details if run.run_details else None
        return _run(run, self._tasks_of(run), [_node(task) for task in details or []])

    def latest_runs(self, count: int) -> list[Run]:
        """The newest runs of the experiment, without their tasks."""
        listing = self._client.runs.run_service_list_runs
        order = {"sort_by": "created_at desc", "page_size": count}
        answer = self._connection.call("listing runs", listing, experiment_id=self._experiment_id(), **order)
        return [_run(run, [], []) for run in answer.runs or []]

    def terminate(self, run_id: str) -> None:
        self._connection.call(f"ending run {run_id}", self._client.runs.run_service_terminate_run, run_id)

    def _tasks_of(self, run: api.V2beta1Run) -> list[str]:
        reference = run.pipeline_version_reference
        if reference is None:  # a run that someone else made of a file
            return task_names(run.pipeline_spec.get("pipeline_spec", run.pipeline_spec)) if run.pipeline_spec else []
        version = reference.pipeline_version_id
        if version not in self._task_names:
            get = self._client.pipelines.pipeline_service_get_pipeline_version
            made_of = self._connection.call(f"pipeline version {version}", get, reference.pipeline_id, version)
            spec = made_of.pipeline_spec
            self._task_names[version] = task_names(spec.get("pipeline_spec", spec))
        return self._task_names[version]

    # Schedules

    def schedules(self, recipe_name: str) -> list[Schedule]:
        """A recipe has one; more only after a replacement that was cut short."""
        listing = self._client.recurring_runs.recurring_run_service_list_recurring_runs
        name, experiment = f"meditron-{recipe_name}", self._experiment_id()
        found = self._connection.named(listing, "recurring_runs", name, experiment_id=experiment)
        return [_schedule(run) for run in found]

    def replace_schedule(self, version: PipelineVersion, recipe_name: str, cron: str) -> Schedule:
        """Run `version` at the times that `cron` says, instead of what the recipe's schedule was before.

        Times that were missed are not made up for, and no run starts while one is under way.
        """
        before = self.schedules(recipe_name)
        recurring = api.V2beta1RecurringRun(
            experiment_id=self._experiment_id(),
            display_name=f"meditron-{recipe_name}",
            description=f"pipeline version {version.name}",
            trigger=api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=cron)),
            no_catchup=True,
            max_concurrency="1",
            mode=api.RecurringRunMode.ENABLE,
            namespace=self.namespace,
            **self._what_and_how(version),
        )
        create = self._client.recurring_runs.recurring_run_service_create_recurring_run
        made = self._connection.call("creating the schedule", create, recurring)
        for schedule in before:
            self.delete_schedule(schedule.id)
        return _schedule(made)

    def enable_schedule(self, schedule_id: str) -> None:
        enable = self._client.recurring_runs.recurring_run_service_enable_recurring_run
        self._connection.call("enabling the schedule", enable, schedule_id)

    def disable_schedule(self, schedule_id: str) -> None:
        disable = self._client.recurring_runs.recurring_run_service_disable_recurring_run
        self._connection.call("disabling the schedule", disable, schedule_id)

    def delete_schedule(self, schedule_id: str) -> None:
        delete = self._client.recurring_runs.recurring_run_service_delete_recurring_run
        self._connection.call("deleting the schedule", delete, schedule_id)

    # What runs and schedules have in common

    def _what_and_how(self, version: PipelineVersion) -> dict[str, Any]:
        return {
            "pipeline_version_reference": api.V2beta1PipelineVersionReference(
                pipeline_id=version.pipeline_id, pipeline_version_id=version.id
            ),
            "runtime_config": api.V2beta1RuntimeConfig(pipeline_root=self.settings.pipeline_root, parameters={}),
            "service_account": self.settings.service_account,
        }

    def _experiment_id(self) -> str:
        name, services = self.settings.experiment, self._client.experiments
        listing = services.experiment_service_list_experiments
        if found := self._connection.named(listing, "experiments", name, namespace=self.namespace):
            return found[0].experiment_id
        experiment = api.V2beta1Experiment(display_name=name, namespace=self.namespace)
        create = services.experiment_service_create_experiment
        return self._connection.call(f"creating the experiment {name}", create, experiment).experiment_id


def _run(run: api.V2beta1Run, names: list[str], nodes: list[Node]) -> Run:
    return Run(
        id=run.run_id,
        name=run.display_name,
        state=run.state or PENDING,
        start=real_time(run.created_at),
        end=real_time(run.finished_at),
        error=run.error.message if run.error else "",
        tasks=gathered(names, nodes),
    )


def _node(task: api.V2beta1PipelineTaskDetail) -> Node:
    return Node(
        task.display_name or "",
        task.state or PENDING,
        real_time(task.start_time),
        real_time(task.end_time),
        task.error.message if task.error else "",
    )


def _schedule(run: api.V2beta1RecurringRun) -> Schedule:
    cron = run.trigger.cron_schedule.cron if run.trigger and run.trigger.cron_schedule else ""
    is_enabled = (run.status or "ENABLED") == "ENABLED"
    return Schedule(run.recurring_run_id, run.display_name, cron, is_enabled, run.description or "")
