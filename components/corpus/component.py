"""The KFP face of the corpus stage."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Output


@dsl.component(base_image="meditron/pipeline", install_kfp_package=False)
def build_corpus(settings: str, platform: str, corpus: Output[Dataset], report: Output[HTML]) -> None:
    """Read, clean, deduplicate, mix, split and tokenize the sources of GAP-Replay."""
    from components.corpus import stage
    from components.corpus.settings import CorpusSettings
    from components.platform.step import Step

    with Step("corpus", CorpusSettings, settings, platform) as step:
        step.finish(stage.run(step.settings, step.platform), corpus, report)
