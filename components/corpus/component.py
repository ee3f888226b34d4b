"""The KFP faces of the corpus stage: one for each of its steps."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Output

IMAGE = "meditron/pipeline"


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def look_for_news(settings: str, platform: str, model: str, continue_from: str) -> str:
    """Find the version to go on from, and the source files that are new since. Empty: nothing is."""
    from components.corpus import news
    from components.corpus.settings import CorpusSettings
    from components.platform.predecessor import PREDECESSOR_TAG, Predecessor
    from components.platform.step import PlainStep
    from components.platform.tracking.notes import note_on_pipeline

    with PlainStep("look-for-news", CorpusSettings, settings, platform) as step:
        predecessor = Predecessor.find(step.platform, model, continue_from)
        found, sentence = news.look(step.settings, step.platform, predecessor)
        note_on_pipeline(step.platform, {PREDECESSOR_TAG: str(predecessor.version), "meditron.news": sentence})
        print(sentence, flush=True)
        if not found:
            step.end_pipeline()
        return predecessor.to_json() if found else ""


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def plan_corpus(settings: str, platform: str, predecessor: str, plan: Output[Dataset], tables: Output[Dataset]) -> None:
    """Find all source files, cut the work on them into shards, and make tables of the metadata that they join."""
    from components.corpus import stage
    from components.corpus.settings import CorpusSettings
    from components.platform.manifest import save_list
    from components.platform.predecessor import Predecessor, all_corpora
    from components.platform.step import PlainStep

    with PlainStep("corpus", CorpusSettings, settings, platform) as step:
        before = all_corpora(Predecessor.from_json(predecessor))
        planned = stage.plan(step.settings, step.platform, before)
        save_list(stage.tabulate(step.settings, step.platform, planned), tables.path)
        planned.save(plan.path)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def prepare_documents(
    settings: str,
    platform: str,
    task: int,
    tasks: int,
    plan: Input[Dataset],
    tables: Input[Dataset],
    documents: Output[Dataset],
) -> None:
    """Read, clean, filter and fingerprint a share of the shards."""
    from components.corpus import stage
    from components.corpus.settings import CorpusSettings
    from components.platform.manifest import Manifest, save_list
    from components.platform.step import PlainStep

    with PlainStep("corpus", CorpusSettings, settings, platform) as step:
        planned, share = Manifest.load(plan.path), stage.Task(task, tasks)
        tabulated = Manifest.load_all(tables.path)
        save_list(stage.prepare(step.settings, step.platform, planned, tabulated, share), documents.path)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def decide_on_documents(
    settings: str,
    platform: str,
    predecessor: str,
    plan: Input[Dataset],
    parts: Input[list[Dataset]],
    documents: Output[Dataset],
    decisions: Output[Dataset],
) -> None:
    """Deduplicate, decontaminate and split over all documents at once."""
    from components.corpus import stage
    from components.corpus.settings import CorpusSettings
    from components.platform.manifest import Manifest, save_list
    from components.platform.predecessor import Predecessor, all_corpora
    from components.platform.step import PlainStep

    with PlainStep("corpus", CorpusSettings, settings, platform) as step:
        prepared = [shard for part in parts for shard in Manifest.load_all(part.path)]
        before = all_corpora(Predecessor.from_json(predecessor))
        stage.decide(step.settings, step.platform, Manifest.load(plan.path), prepared, before).save(decisions.path)
        save_list(prepared, documents.path)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def tokenize_documents(
    settings: str,
    platform: str,
    task: int,
    tasks: int,
    documents: Input[Dataset],
    decisions: Input[Dataset],
    tokens: Output[Dataset],
) -> None:
    """Turn a share of the shards into tokens."""
    from components.corpus import stage
    from components.corpus.settings import CorpusSettings
    from components.platform.manifest import Manifest, save_list
    from components.platform.step import PlainStep

    with PlainStep("corpus", CorpusSettings, settings, platform) as step:
        prepared, decided = Manifest.load_all(documents.path), Manifest.load(decisions.path)
        save_list(stage.tokenize(step.platform, prepared, decided, stage.Task(task, tasks)), tokens.path)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def build_corpus(
    settings: str,
    platform: str,
    predecessor: str,
    plan: Input[Dataset],
    tables: Input[Dataset],
    documents: Input[Dataset],
    decisions: Input[Dataset],
    tokens: Input[list[Dataset]],
    corpus: Output[Dataset],
    report: Output[HTML],
) -> None:
    """Mix the shards, write documents and tokens by split and group, and account for every record."""
    from components.corpus import stage
    from components.corpus.settings import CorpusSettings
    from components.platform.manifest import Manifest
    from components.platform.predecessor import Predecessor, all_corpora
    from components.platform.step import Step

    with Step("corpus", CorpusSettings, settings, platform) as step:
        planned, decided = Manifest.load(plan.path), Manifest.load(decisions.path)
        tabulated, prepared = Manifest.load_all(tables.path), Manifest.load_all(documents.path)
        tokenized = [shard for part in tokens for shard in Manifest.load_all(part.path)]
        parts = (planned, tabulated, prepared, decided, tokenized)
        before = all_corpora(Predecessor.from_json(predecessor))
        manifest = stage.merge(step.settings, step.platform, *parts, before)
        step.finish(manifest, corpus, report)
        step.tracked.log_dataset(manifest, "corpus")
