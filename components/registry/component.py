"""The KFP face of the registry stage."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Model, Output


@dsl.component(base_image="meditron/pipeline", install_kfp_package=False)
def record_submission(settings: str, platform: str, submission: str) -> None:
    """Note in MLflow what the run was made from, so that it can be made again: recipe, code version, image digests."""
    from components.platform.step import PlainStep
    from components.platform.tracking.submissions import record_submission
    from components.registry.settings import RegistrySettings

    with PlainStep("record", RegistrySettings, settings, platform) as step:
        record_submission(step.platform, submission)


@dsl.component(base_image="meditron/pipeline", install_kfp_package=False)
def register(
    settings: str,
    platform: str,
    predecessor: str,
    corpus: Input[Dataset],
    pretrained: Input[Model],
    tuned: Input[Model],
    quantized: Input[Model],
    pretrained_evaluation: Input[Artifact],
    tuned_evaluation: Input[Artifact],
    quantized_evaluation: Input[Artifact],
    registered: Output[Artifact],
    report: Output[HTML],
    decision: Output[HTML],
) -> None:
    """Register the run's model, with lineage, as a new version in MLflow; the gate decides whether it is champion."""
    from components.platform.manifest import CARD_NAME, Manifest
    from components.platform.predecessor import Predecessor
    from components.platform.step import Step
    from components.registry import stage
    from components.registry.gate.decision import PAGE
    from components.registry.registration import register_version
    from components.registry.settings import RegistrySettings

    artifacts = {
        "corpus": Manifest.load(corpus.path),
        "pretrained": Manifest.load(pretrained.path),
        "tuned": Manifest.load(tuned.path),
        "quantized": Manifest.load(quantized.path),
        "pretrained_evaluation": Manifest.load(pretrained_evaluation.path),
        "tuned_evaluation": Manifest.load(tuned_evaluation.path),
        "quantized_evaluation": Manifest.load(quantized_evaluation.path),
    }
    with Step("register", RegistrySettings, settings, platform) as step:
        before = Predecessor.from_json(predecessor)
        manifest = stage.run(step.settings, step.platform, **artifacts, predecessor=before)
        step.finish(manifest, registered, report)
        step.tracked.log_artifact(manifest.fetch(CARD_NAME))
        step.tracked.log_dataset(artifacts["corpus"], "training")
        version, outcome = register_version(
            step.settings, step.platform, step.tracked, artifacts, manifest, predecessor=before
        )
        registered.metadata["model_version"] = version.version
        if outcome.decision:
            step.show(outcome.decision.fetch(PAGE), decision)
        print(f"register  {version.name} version {version.version} {outcome.says}", flush=True)
        step.end_pipeline()
