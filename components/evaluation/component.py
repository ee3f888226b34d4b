"""The KFP face of the evaluation stage."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Input, Model, Output


@dsl.component(base_image="meditron/pipeline", install_kfp_package=False)
def evaluate(
    settings: str,
    platform: str,
    label: str,
    model: Input[Model],
    evaluation: Output[Artifact],
    report: Output[HTML],
    baseline: Input[Artifact] = None,
) -> None:
    """Answer the recipe's benchmarks with a model; `label` names it in the results.

    With the evaluation of another model as `baseline`, the two are compared question by question.
    """
    from components.evaluation import stage
    from components.evaluation.settings import EvaluationSettings
    from components.platform.manifest import Manifest
    from components.platform.step import Step

    with Step(f"evaluate-{label}", EvaluationSettings, settings, platform) as step:
        evaluated = Manifest.load(model.path)
        manifest = stage.run(
            step.settings,
            step.platform,
            model=evaluated,
            label=label,
            baseline=Manifest.load(baseline.path) if baseline else None,
        )
        step.finish(manifest, evaluation, report)
        step.tracked.log_scores(evaluated, manifest.numbers)
