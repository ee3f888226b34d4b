"""A run's model becomes a version: registered with its lineage, and held against the champion."""

from __future__ import annotations

from collections.abc import Mapping

from components.platform.context import PlatformSettings
from components.platform.manifest import CARD_NAME, Manifest
from components.platform.predecessor import Predecessor, all_corpora, as_inputs
from components.platform.storage import join
from components.platform.tracking.logged_models import log_input_model
from components.platform.tracking.models import ModelRegistry, RegisteredVersion
from components.platform.tracking.runs import StageRun
from components.platform.tracking.submissions import submission_tags
from components.platform.tracking.tracker import tracking_uri
from components.registry.card import without_front_matter
from components.registry.contest import Outcome, settle
from components.registry.data_read import licence_tag
from components.registry.lineage import lineage_tags
from components.registry.settings import RegistrySettings


def register_version(
    settings: RegistrySettings,
    platform: PlatformSettings,
    run: StageRun,
    artifacts: Mapping[str, Manifest],
    registered: Manifest,
    predecessor: Predecessor | None,
) -> tuple[RegisteredVersion, Outcome]:
    """Register the quantized model, by reference, and let the gate decide whether it is champion.

    Args:
        run: the MLflow run that registers it.
        artifacts: what the model was made from, by role.
        registered: what `stage.run` made of them, with the model card.
        predecessor: the version that the run goes on from, if it does.

    Raises:
        UserError: another version became champion while this one was compared.
    """
    registry, earlier = ModelRegistry(tracking_uri(platform)), all_corpora(predecessor)
    model_id = log_input_model(run, artifacts["quantized"])
    tags = lineage_tags({**artifacts, "registered": registered})
    tags |= licence_tag([artifacts["corpus"], *earlier]) | submission_tags(platform)
    if predecessor:
        tags["predecessor.version"] = str(predecessor.version)
    place = join(artifacts["quantized"].uri, "model")
    version = registry.register(settings.model_name, place, run.run_id, tags, model_id=model_id)
    registry.describe(version, without_front_matter(registered.fetch(CARD_NAME)))
    return version, settle(registry, version, settings.gate, {**artifacts, **as_inputs(earlier)}, platform)
