"""The KFP face of the quantization stage."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Model, Output


@dsl.component(base_image="meditron/pipeline", install_kfp_package=False)
def quantize(
    settings: str,
    platform: str,
    corpus: Input[Dataset],
    tuned: Input[Model],
    model: Output[Model],
    report: Output[HTML],
) -> None:
    """Quantize the fine-tuned model to 4 bits with AWQ, calibrated on the corpus and on conversations."""
    from components.platform.manifest import Manifest
    from components.platform.step import Step
    from components.quantization import stage
    from components.quantization.settings import QuantizationSettings

    with Step("quantize", QuantizationSettings, settings, platform) as step:
        text, original = Manifest.load(corpus.path), Manifest.load(tuned.path)
        manifest = stage.run(step.settings, step.platform, model=original, corpus=text)
        step.finish(manifest, model, report)
        step.tracked.log_dataset(text, "calibration")
        step.tracked.log_input_model(original)
        step.tracked.log_output_model(manifest)
