"""What the pipeline itself asks and tells MLflow about a run: how it ended early, what it handed on."""

from __future__ import annotations

from collections.abc import Mapping

from components.platform.context import PlatformSettings
from components.platform.tracking.tags import ARTIFACT_TAG
from components.platform.tracking.tracker import Tracker, existing_client, pipeline_run_id, pipeline_run_of


def note_on_pipeline(platform: PlatformSettings, tags: Mapping[str, str]) -> None:
    """Tags of the parent run of the pipeline."""
    tracker = Tracker(platform)
    run_id = tracker.parent_run()
    for key, value in tags.items():
        tracker.client.set_tag(run_id, key, value)


def read_note(uri: str, run_id: str, tag: str) -> str | None:
    """A tag of the parent run; `run_id` may also be that of one of its stages."""
    client = existing_client(uri)
    return client.get_run(pipeline_run_of(client, run_id)).data.tags.get(tag)


def artifact_of(platform: PlatformSettings, stage: str) -> str | None:
    """Where the artifact lies that a stage of this pipeline run handed on; None when the run did not get so far."""
    tracker = Tracker(platform)
    run_id = tracker.find(stage, pipeline_run_id())
    return tracker.client.get_run(run_id).data.tags.get(ARTIFACT_TAG) if run_id else None
