"""The corpus stage, step by step: each leaves an artifact in the workspace that later ones take up.

`run` does them all, one after the other. On a cluster each is a step of the pipeline, and those that work on shards
(`prepare`, `tokenize`) are several at once: each `Task` takes its share, and spreads it over processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from components.corpus import build, papers_table, questions, tokenizer
from components.corpus import plan as planning
from components.corpus.decide import decide as decide_all
from components.corpus.decide import file_name
from components.corpus.encoder import Encoder
from components.corpus.plan import Plan, shard_name
from components.corpus.prepare import DOCUMENTS
from components.corpus.prepare import prepare as prepare_shard
from components.corpus.settings import CorpusSettings, ShardSettings, TabulateSettings, TokenizeSettings
from components.corpus.tokenize import tokenize as tokenize_shard
from components.platform.context import PlatformSettings
from components.platform.data import SourceFile
from components.platform.manifest import Manifest
from components.platform.model_folder import load_tokenizer
from components.platform.predecessor import as_inputs, note_of
from components.platform.progress import Progress
from components.platform.questions.question import Question
from components.platform.stage import produce
from components.platform.workers import share_out

Context = TypeVar("Context")

# Starting a process takes a second, in which one prepares some 10 MB
BYTES_WORTH_A_PROCESS = 16 << 20


@dataclass(frozen=True)
class Task:
    """One of `of` tasks that share out the shards, by default the only one."""

    number: int = 0
    of: int = 1


def run(settings: CorpusSettings, platform: PlatformSettings, before: Sequence[Manifest] = ()) -> Manifest:
    """Build the corpus, or find the one that is already there.

    Args:
        before: corpora that this one adds to, the newest first: it holds what they don't have, in the newest's tokens.

    Raises:
        InputError: a source file is missing, or a source yields no document.
    """
    planned = plan(settings, platform, before)
    tables = tabulate(settings, platform, planned)
    prepared = prepare(settings, platform, planned, tables)
    decisions = decide(settings, platform, planned, prepared, before)
    tokens = tokenize(platform, prepared, decisions)
    return merge(settings, platform, planned, tables, prepared, decisions, tokens, before)


def plan(settings: CorpusSettings, platform: PlatformSettings, before: Sequence[Manifest] = ()) -> Manifest:
    """Find all source files, or those that earlier corpora don't know, and cut the work into shards."""
    return planning.make(settings, platform, before)


def tabulate(settings: CorpusSettings, platform: PlatformSettings, planned: Manifest) -> list[Manifest]:
    """Make tables of Semantic Scholar's `papers`, one for each file."""
    files = Plan.load(planned).all_papers()
    pubmed_only = all(source.pubmed_only for source in settings.sources if source.papers)
    only = TabulateSettings(pubmed_only=pubmed_only, limits=settings.limits)
    context = _Tabulating(only, platform, files)
    return _shared_out("corpus  tabulate", _tabulate, context, [file.bytes for file in files], Task())


@dataclass(frozen=True)
class _Tabulating:
    settings: TabulateSettings
    platform: PlatformSettings
    files: Sequence[SourceFile]


def _tabulate(context: _Tabulating, number: int) -> Manifest:
    file = context.files[number]

    def work(folder: Path) -> dict[str, Any]:
        made = papers_table.tabulate(file, context.settings.pubmed_only, folder, context.settings.limits)
        return {"file": file.name, **made}

    return produce("corpus-papers", context.settings, {}, context.platform, work, [file], part=True)


def prepare(
    settings: CorpusSettings,
    platform: PlatformSettings,
    planned: Manifest,
    tables: Sequence[Manifest],
    task: Task = Task(),
) -> list[Manifest]:
    """Read, clean, filter and fingerprint the shards."""
    plan = Plan.load(planned)
    taken = load_tokenizer(plan.tokenizer[0].local().parent) if plan.tokenizer else None
    context = _Preparing(
        settings,
        platform,
        plan,
        {table.metadata["file"]: table for table in tables},
        questions.read(settings.decontaminate, platform),
        tokenizer.reserved(taken),
    )
    return _shared_out("corpus  prepare", _prepare, context, [shard.bytes for shard in plan.shards], task)


@dataclass(frozen=True)
class _Preparing:
    settings: CorpusSettings
    platform: PlatformSettings
    plan: Plan
    tables: Mapping[str, Manifest]
    questions: Sequence[Question]
    reserved: tuple[str, ...]


def _prepare(context: _Preparing, number: int) -> Manifest:
    shard = context.plan.shards[number]
    settings = ShardSettings.of(context.settings, context.settings.source(shard.source), context.reserved)
    tables = {file.name: context.tables[file.name] for file in context.plan.papers[shard.source]}

    def work(folder: Path) -> dict[str, Any]:
        paths = [table.fetch(papers_table.TABLE) for table in tables.values()]
        return prepare_shard(shard, settings, paths, context.questions, folder)

    files = [*shard.files, *context.plan.questions]
    return produce("corpus-shard", settings, tables, context.platform, work, files, part=True)


def decide(
    settings: CorpusSettings,
    platform: PlatformSettings,
    planned: Manifest,
    prepared: Sequence[Manifest],
    before: Sequence[Manifest] = (),
) -> Manifest:
    """Decide over all documents at once, and make the tokenizer."""
    shards = _in_order(settings, prepared)
    taken = Plan.load(planned).tokenizer

    def work(folder: Path) -> dict[str, Any]:
        tokens = taken[0].local().parent if taken else None
        if before:  # the model goes on with the tokens that it has
            for name in tokenizer.FILES:
                tokens = before[0].fetch(f"tokenizer/{name}").parent
        return decide_all(settings, shards, tokens, folder, before)

    inputs = {shard_name(shard): shard for shard in shards} | as_inputs(before)
    return produce("corpus-decisions", settings, inputs, platform, work, source_files=taken)


def tokenize(
    platform: PlatformSettings, prepared: Sequence[Manifest], decisions: Manifest, task: Task = Task()
) -> list[Manifest]:
    """Turn the documents of the shards into tokens."""
    context = _Tokenizing(platform, prepared, decisions)
    return _shared_out("corpus  tokenize", _tokenize, context, [s.metadata["characters"] for s in prepared], task)


@dataclass(frozen=True)
class _Tokenizing:
    platform: PlatformSettings
    prepared: Sequence[Manifest]
    decisions: Manifest


def _tokenize(context: _Tokenizing, number: int) -> Manifest:
    shard, decisions = context.prepared[number], context.decisions
    checksums = {entry.path: entry.sha256 for entry in decisions.files}
    settings = TokenizeSettings(
        decisions=checksums[file_name(shard)],
        tokenizer=checksums["tokenizer/tokenizer.json"],
        fast=decisions.metadata["fast_tokenizer"],
    )

    def work(folder: Path) -> dict[str, Any]:
        for name in tokenizer.FILES:
            encoder_folder = decisions.fetch(f"tokenizer/{name}").parent
        encoder = Encoder(encoder_folder, settings.fast)
        decided = pl.read_parquet(decisions.fetch(file_name(shard)))
        tokens = tokenize_shard(shard.fetch(DOCUMENTS), decided, encoder, folder)
        return {"source": shard.metadata["source"], "shard": shard.metadata["shard"], "tokens": tokens}

    return produce("corpus-tokens", settings, {"shard": shard}, context.platform, work, part=True)


def merge(
    settings: CorpusSettings,
    platform: PlatformSettings,
    planned: Manifest,
    tables: Sequence[Manifest],
    prepared: Sequence[Manifest],
    decisions: Manifest,
    tokens: Sequence[Manifest],
    before: Sequence[Manifest] = (),
) -> Manifest:
    """Put the corpus together, and describe it."""
    plan = Plan.load(planned)
    shards, tokens = _in_order(settings, prepared), _in_order(settings, tokens)

    def work(folder: Path) -> dict[str, Any]:
        return build.Build(settings, plan, tables, shards, decisions, tokens, folder, before).run() | note_of(before)

    inputs = {"decisions": decisions, **as_inputs(before)} | {
        f"{part.kind}/{shard_name(part)}": part for parts in (shards, tokens) for part in parts
    }
    return produce("corpus", settings, inputs, platform, work, source_files=plan.files())


def _in_order(settings: CorpusSettings, parts: Sequence[Manifest]) -> list[Manifest]:
    """Parts of many tasks in the order of the recipe's sources and of their files."""
    sources = [source.name for source in settings.sources]
    return sorted(parts, key=lambda part: (sources.index(part.metadata["source"]), part.metadata["shard"]))


def _shared_out(
    title: str, function: Callable[[Context, int], Manifest], context: Any, sizes: Sequence[int], task: Task
) -> list[Manifest]:
    """This task's share of the items 0, 1, ... whose sizes in bytes are given, spread over processes."""
    mine = planning.share(sizes, task.number, task.of)
    total = sum(sizes[item] for item in mine)
    workers = context.platform.workers or len(os.sched_getaffinity(0))
    worthwhile = 1 + total // BYTES_WORTH_A_PROCESS
    results = []
    if not mine:
        return results
    with Progress(title, total / 1e6, "MB") as progress:
        for item, result in zip(mine, share_out(function, context, mine, min(workers, worthwhile)), strict=True):
            results.append(result)
            progress.update(sizes[item] / 1e6)
    return results
