"""The KFP faces of the training engine: continued pretraining and supervised fine-tuning."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Model, Output


@dsl.component(base_image="meditron/pipeline", install_kfp_package=False)
def weigh_news(settings: str, platform: str, corpus: Input[Dataset]) -> str:
    """Whether what is new is enough to train on: "train" or "wait"."""
    from components.platform.manifest import Manifest
    from components.platform.step import PlainStep
    from components.platform.tracking.notes import note_on_pipeline
    from components.training.retraining import new_tokens
    from components.training.settings import PretrainSettings

    with PlainStep("weigh-news", PretrainSettings, settings, platform) as step:
        tokens, wanted = new_tokens(Manifest.load(corpus.path)), step.settings.retraining.min_tokens
        verdict = "train" if tokens >= wanted else "wait"
        sentence = f"{tokens:,} new training tokens, retraining.min_tokens is {wanted:,}: {verdict}"
        note_on_pipeline(step.platform, {"meditron.news.weighed": sentence})
        print(sentence, flush=True)
        if verdict == "wait":
            step.end_pipeline()
        return verdict


@dsl.component(base_image="meditron/pipeline", install_kfp_package=False)
def pretrain(
    settings: str,
    platform: str,
    predecessor: str,
    corpus: Input[Dataset],
    model: Output[Model],
    report: Output[HTML],
) -> None:
    """Continue pretraining of the base model on the corpus, with TP × PP × DP parallelism."""
    from components.platform.manifest import Manifest
    from components.platform.predecessor import Predecessor
    from components.platform.step import Step
    from components.training import stage
    from components.training.settings import PretrainSettings

    with Step("pretrain", PretrainSettings, settings, platform) as step:
        before, text = Predecessor.from_json(predecessor), Manifest.load(corpus.path)
        base = Manifest.load(before.pretrained) if before else None
        manifest = stage.run_pretrain(step.settings, step.platform, text, base)
        step.finish(manifest, model, report)
        step.tracked.log_dataset(text, "training")
        if base:
            step.tracked.log_input_model(base)
        else:
            step.tracked.log_base_model(manifest)
        step.tracked.log_output_model(manifest)


@dsl.component(base_image="meditron/pipeline", install_kfp_package=False)
def sft(
    settings: str,
    platform: str,
    corpus: Input[Dataset],
    base: Input[Model],
    model: Output[Model],
    report: Output[HTML],
) -> None:
    """Fine-tune the pretrained model on instruction data, with the same engine."""
    from components.platform.manifest import Manifest
    from components.platform.step import Step
    from components.training import stage
    from components.training.settings import SftSettings

    with Step("sft", SftSettings, settings, platform) as step:
        text, pretrained = Manifest.load(corpus.path), Manifest.load(base.path)
        manifest = stage.run_sft(step.settings, step.platform, corpus=text, model=pretrained)
        step.finish(manifest, model, report)
        step.tracked.log_dataset(text, "training")
        step.tracked.log_input_model(pretrained)
        step.tracked.log_output_model(manifest)
