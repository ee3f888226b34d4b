"""GAP-Replay as a DAG of its own: a plan, shards worked on side by side, one decision over all, and the merge."""

from typing import Any, Protocol

from kfp import dsl
from kfp.dsl import Dataset
from kfp.dsl.base_component import BaseComponent

from components.corpus.component import (
    build_corpus,
    decide_on_documents,
    plan_corpus,
    prepare_documents,
    tokenize_documents,
)
from components.platform.settings import Settings
from pipelines.recipe import Recipe


class MakeTask(Protocol):
    """Makes a task of the pipeline from a component, and puts it where the recipe wants it."""

    def __call__(self, component: BaseComponent, section: Settings, **inputs: Any) -> dsl.PipelineTask: ...


def gap_replay(recipe: Recipe, step: MakeTask) -> BaseComponent:
    """The pipeline within the pipeline that builds the corpus of one recipe."""
    section, tasks = recipe.corpus, recipe.cluster.corpus_tasks
    numbers = list(range(tasks))

    @dsl.pipeline(name="corpus", description=gap_replay.__doc__)
    def corpus(predecessor: str) -> Dataset:
        planned = step(plan_corpus, section, predecessor=predecessor)
        plan, tables = planned.outputs["plan"], planned.outputs["tables"]
        with dsl.ParallelFor(numbers) as number:
            share = {"task": number, "tasks": tasks}
            part = step(prepare_documents, section, plan=plan, tables=tables, **share).outputs["documents"]
        decided = step(decide_on_documents, section, predecessor=predecessor, plan=plan, parts=dsl.Collected(part))
        documents, decisions = decided.outputs["documents"], decided.outputs["decisions"]
        with dsl.ParallelFor(numbers) as number:
            share = {"task": number, "tasks": tasks}
            part = step(tokenize_documents, section, documents=documents, decisions=decisions, **share)
        tokens = dsl.Collected(part.outputs["tokens"])
        parts = {"plan": plan, "tables": tables, "documents": documents, "decisions": decisions, "tokens": tokens}
        merged = step(build_corpus, section, predecessor=predecessor, **parts)
        return merged.outputs["corpus"]

    return corpus
