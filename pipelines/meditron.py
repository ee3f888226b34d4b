"""The Meditron recipe as one DAG: corpus → pretrain → SFT → AWQ → evaluation → registry.

A retraining is the same with two questions before: is any source file new, and is it enough to train on? If not, the
run ends there.
"""

from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components.corpus.component import look_for_news
from components.evaluation.component import evaluate
from components.platform.settings import Settings
from components.quantization.component import quantize
from components.registry.component import record_submission, register
from components.training.component import pretrain, sft, weigh_news
from pipelines.cluster import place
from pipelines.corpus import gap_replay
from pipelines.submission import Submission


def meditron(submission: Submission) -> BaseComponent:
    """The pipeline of one recipe: the same for a laptop and a cluster."""
    recipe = submission.recipe
    platform = recipe.platform.model_dump_json()

    def step(component: BaseComponent, section: Settings, **inputs: Any) -> dsl.PipelineTask:
        task = component(settings=section.model_dump_json(), platform=platform, **inputs)
        return place(task, recipe.cluster)

    build_corpus = gap_replay(recipe, step)

    def build(predecessor: str) -> dsl.PipelineTask:
        return build_corpus(predecessor=predecessor).set_caching_options(False)  # why: see `place`

    def train(corpus: Any, predecessor: str) -> None:
        pretrained = step(pretrain, recipe.pretrain, predecessor=predecessor, corpus=corpus).outputs["model"]
        tuned = step(sft, recipe.sft, corpus=corpus, base=pretrained).outputs["model"]
        quantized = step(quantize, recipe.quantization, corpus=corpus, tuned=tuned).outputs["model"]

        base_score = step(evaluate, recipe.base_evaluation, label="pretrained", model=pretrained)
        base_score = base_score.set_display_name("evaluate pretrained").outputs["evaluation"]
        before = step(evaluate, recipe.evaluation, label="sft", model=tuned)
        before = before.set_display_name("evaluate sft").outputs["evaluation"]
        after = step(evaluate, recipe.evaluation, label="awq", model=quantized, baseline=before)
        after = after.set_display_name("evaluate awq").outputs["evaluation"]

        step(
            register,
            recipe.registry,
            predecessor=predecessor,
            corpus=corpus,
            pretrained=pretrained,
            tuned=tuned,
            quantized=quantized,
            pretrained_evaluation=base_score,
            tuned_evaluation=before,
            quantized_evaluation=after,
        )

    @dsl.pipeline(name=f"meditron-{recipe.name}", description=meditron.__doc__)
    def pipeline() -> None:
        recorded = step(record_submission, recipe.registry, submission=submission.to_json())  # before all else
        if submission.continue_from is None:
            train(build(predecessor="").after(recorded).output, predecessor="")
            return
        model = {"model": recipe.registry.model_name, "continue_from": submission.continue_from}
        predecessor = step(look_for_news, recipe.corpus, **model).after(recorded).output
        # kfp.local can only decide on what a component returns without a name for it
        with dsl.If(predecessor != ""):
            corpus = build(predecessor).output
            with dsl.If(step(weigh_news, recipe.pretrain, corpus=corpus).output == "train"):
                train(corpus, predecessor)

    return pipeline
