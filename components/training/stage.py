"""The two stages: continued pretraining, and supervised fine-tuning of what it made.

All that can be wrong is looked for here, before a single rank starts.
"""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.platform import storage
from components.platform.base_model import BaseModel
from components.platform.context import PlatformSettings
from components.platform.data import SourceFile, local_folder, resolve
from components.platform.errors import InputError, SettingsError
from components.platform.launcher import JobSpec, launch
from components.platform.manifest import Manifest
from components.platform.predecessor import as_inputs, corpora_before
from components.platform.stage import produce
from components.platform.storage import write_atomically
from components.platform.weights import SAFETENSORS_ONLY, check_whole
from components.training.base import write_new_model
from components.training.base_check import check_tensors
from components.training.batch_sizes import BatchSizes
from components.training.data.conversations import read_conversations, source_files
from components.training.data.pretraining import PretrainingData, ValidationData
from components.training.data.sft import build_conversations
from components.training.disk import check_room
from components.training.fine_tuning import conversation_data, fine_tuning_iterations
from components.training.job import (
    CHECKPOINTS_FOLDER,
    METRICS_FILE,
    MODEL_FOLDER,
    SKIPPED_FILE,
    USAGE_FILE,
    ConversationSource,
    CorpusSource,
    TrainingJob,
    Validation,
)
from components.training.metrics import read_metrics
from components.training.models import read_config
from components.training.models.common.config import ModelConfig, layout_problems
from components.training.report import training_page
from components.training.retraining import held_out, retraining_iterations, retraining_source
from components.training.settings import PretrainSettings, SftSettings, TrainingSettings
from components.training.tokenizer import check_same_tokens, read_tokenizer
from components.training.usage import read_usage
from components.training.watching import SkippedBatches

# Hidden names are not part of an artifact.
JOB_FILE, NEW_MODEL_FOLDER, CONVERSATIONS_FOLDER, NEWS_FOLDER = ".job.json", ".base", ".conversations", ".news"
STREAM = f"{NEWS_FOLDER}/tokens"


def run_pretrain(
    settings: PretrainSettings, platform: PlatformSettings, corpus: Manifest, base: Manifest | None = None
) -> Manifest:
    """Continue pretraining of the base model on the corpus.

    Args:
        base: a pretrained model to go on from, with a corpus of news as `settings.retraining` says, instead of the
            base model in the settings.

    Returns:
        Manifest of kind "pretrain": `model/` (a Hugging Face folder), `metrics.jsonl`, `report.html`.

    Raises:
        SettingsError: settings that don't fit model or launcher.
        InputError: unusable corpus or base model.
        LaunchError: training failed; LaunchInterrupted: it was stopped, and run again goes on.
    """
    if base is None:
        settings = settings.model_copy(update={"retraining": None})  # concerns other runs
    elif settings.retraining is None:
        raise SettingsError("pretrain.retraining: missing; how should the model go on with what is new?")
    base_files = () if base else _base_files(settings, platform)
    origin = BaseModel.of(base) if base else _origin(settings, base_files)
    before = corpora_before(corpus) if base else []

    def work(folder: Path) -> dict[str, Any]:
        corpus_folder = corpus.local()
        tokenizer = corpus_folder / "tokenizer"
        if base:
            start = base.local() / MODEL_FOLDER
            config = _existing_model(start, tokenizer)
            data = retraining_source(settings, corpus_folder, before, folder / STREAM)
            used = settings.retrained(retraining_iterations(settings, data))
            validation = _validation(used, held_out(before))
        else:
            start, config = _base_model(settings, base_files, tokenizer, folder)
            data, used = _corpus_source(corpus_folder), settings
            validation = _validation(used, corpus_folder)
        job = TrainingJob(
            name="pretrain",
            settings=used,
            data=data,
            validation=validation,
            train_iters=used.train_iters,
            vocab_size=config.vocab_size,
            base=start,
            tokenizer=tokenizer,
            output=folder,
            checkpoints=_remote_checkpoints("pretrain", folder, platform),
        )
        _check_corpus(job)
        return _train(job, config, platform) | origin.as_metadata()

    inputs = {"corpus": corpus} | ({"base": base, **as_inputs(before)} if base else {})
    return produce("pretrain", settings, inputs, platform, work, base_files)


def run_sft(settings: SftSettings, platform: PlatformSettings, corpus: Manifest, model: Manifest) -> Manifest:
    """Fine-tune `model` on conversations; `corpus` gives the tokenizer, which must be the model's.

    Returns:
        Manifest of kind "sft", with the same files as that of pretraining.

    Raises:
        As `run_pretrain`.
    """

    def work(folder: Path) -> dict[str, Any]:
        base, tokenizer = model.local() / MODEL_FOLDER, corpus.local() / "tokenizer"
        config = _existing_model(base, tokenizer)
        conversations = read_conversations(settings.data, platform)
        stats = build_conversations(conversations, tokenizer, settings.sequence_length, folder / CONVERSATIONS_FOLDER)
        samples = conversation_data(folder / CONVERSATIONS_FOLDER, settings).num_samples
        job = TrainingJob(
            name="sft",
            settings=settings,
            data=ConversationSource(folder=folder / CONVERSATIONS_FOLDER),
            train_iters=fine_tuning_iterations(settings, samples),
            vocab_size=config.vocab_size,
            base=base,
            tokenizer=tokenizer,
            output=folder,
            checkpoints=_remote_checkpoints("sft", folder, platform),
        )
        return _train(job, config, platform) | {"conversations": stats["conversations"]}

    inputs = {"corpus": corpus, "model": model}
    return produce("sft", settings, inputs, platform, work, source_files(settings.data, platform))


def _base_files(settings: PretrainSettings, platform: PlatformSettings) -> Sequence[SourceFile]:
    """Files of an existing base model; none for a new one."""
    path = settings.base.path
    if path is None:
        return ()
    configs = resolve(platform, f"{path}/*.json")
    try:
        return [*configs, *resolve(platform, f"{path}/*.safetensors")]
    except InputError as error:
        raise InputError(f"{error}; {SAFETENSORS_ONLY}") from None


def _origin(settings: PretrainSettings, base_files: Sequence[SourceFile]) -> BaseModel:
    if settings.base.new is not None:
        return BaseModel.new(settings.base.new.model_dump(mode="json"), settings.seed)
    return BaseModel.existing(settings.base.path, {file.name: file.digest for file in base_files})


def _base_model(
    settings: PretrainSettings, base_files: Sequence[SourceFile], tokenizer: Path, folder: Path
) -> tuple[Path, ModelConfig]:
    """The folder that training starts from, and the configuration with room for the tokenizer's ids."""
    if settings.base.new is None:
        base = local_folder(base_files)
        return base, _existing_model(base, tokenizer)
    base = folder / NEW_MODEL_FOLDER
    config = settings.base.new.config(read_tokenizer(tokenizer).vocab_size)
    write_new_model(config, settings.base.new.initializer_range, settings.seed, base)
    return base, config


def _existing_model(base: Path, tokenizer: Path) -> ModelConfig:
    """Configuration of a model that is there, whole, and knows the tokenizer; with room for the tokenizer's ids."""
    check_same_tokens(base, tokenizer)
    check_whole(base)
    config = read_config(base)
    check_tensors(base, config)
    return config.with_vocab_size(max(config.vocab_size, read_tokenizer(tokenizer).vocab_size))


def _corpus_source(corpus: Path) -> CorpusSource:
    path = corpus / "stats.json"
    try:
        mixture = json.loads(path.read_text(encoding="utf-8"))["mixture"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: expected the corpus stage's statistics with a `mixture`: {error!r}") from None
    return CorpusSource(prefixes={group: corpus / "tokens" / "train" / group for group in mixture}, weights=mixture)


def _validation(settings: PretrainSettings, corpus: Path) -> Validation | None:
    """All held-out groups that have tokens; None when validation is off."""
    prefixes = {path.stem: path.with_suffix("") for path in sorted((corpus / "tokens" / "validation").glob("*.idx"))}
    if not settings.eval_iters or not prefixes:
        return None
    num_samples = settings.eval_iters * settings.global_batch_size
    return Validation(prefixes=prefixes, num_samples=num_samples, interval=settings.eval_interval)


def _check_corpus(job: TrainingJob) -> None:
    """Open the data as the ranks will, so that what is missing or too small is told at once."""
    settings = job.settings
    PretrainingData(job.data.prefixes, job.data.weights, settings.sequence_length, settings.seed)
    if job.validation is not None:
        ValidationData(job.validation.prefixes, settings.sequence_length, settings.seed)


def _remote_checkpoints(kind: str, folder: Path, platform: PlatformSettings) -> str | None:
    """Where checkpoints outlive this pod and reach those of other ranks: None where `folder` does so itself."""
    if not storage.is_s3(platform.workspace):
        return None
    return storage.join(platform.workspace, "checkpoints", kind, folder.name)  # the folder's name is the result's key


def _train(job: TrainingJob, config: ModelConfig, platform: PlatformSettings) -> dict[str, Any]:
    """Run the ranks, then tidy up and report. Continues from checkpoints that an earlier call left."""
    settings = job.settings
    problems = layout_problems(config, settings.layout.for_rank(0), settings.sequence_length)
    if settings.warmup_iters(job.train_iters) >= job.train_iters:
        problems.append(f"the warm-up of {settings.warmup_iters(job.train_iters)} iterations never ends: the run has ")
        problems[-1] += f"{job.train_iters}; lower lr_warmup_iters"
    if problems:
        raise SettingsError(f"{job.name}: " + "; ".join(problems))
    check_room(job, config)

    # The launcher's, for when a run pauses must not change which result it is.
    job = job.model_copy(update={"exit_duration_minutes": platform.launcher.exit_duration_minutes})
    job_file = job.output / JOB_FILE
    write_atomically(job_file, job.model_dump_json(indent=1))
    nodes, ranks_per_node = _nodes(settings, platform)
    arguments = ("--job", str(job_file))
    launch(JobSpec(job.name, "components.training.worker", arguments, ranks_per_node, nodes), platform.launcher)

    rows = read_metrics(job.output / METRICS_FILE)
    facts = _facts(job, rows)
    write_atomically(job.output / "report.html", training_page(f"Training: {job.name}", facts, rows))
    for scaffolding in (CHECKPOINTS_FOLDER, NEW_MODEL_FOLDER, CONVERSATIONS_FOLDER, NEWS_FOLDER):
        shutil.rmtree(job.output / scaffolding, ignore_errors=True)
    if job.checkpoints is not None:
        storage.delete([file.location for file in storage.listed(job.checkpoints, "**/*")])
    return facts


def _median(rows: Sequence[dict[str, float]], key: str) -> float:
    return statistics.median(row[key] for row in rows)


def _nodes(settings: TrainingSettings, platform: PlatformSettings) -> tuple[int, int]:
    """Number of nodes, and of ranks on each: one per GPU on a cluster, all on one machine otherwise."""
    world_size, pods = settings.layout.world_size, platform.launcher.pytorchjob
    if platform.launcher.kind == "torchrun" or not pods.gpus_per_node:
        return 1, world_size
    ranks = min(world_size, pods.gpus_per_node)
    if world_size % ranks:
        raise SettingsError(
            f"layout: {settings.layout.for_rank(0)} is {world_size} ranks, which nodes of {ranks} GPUs can't share "
            "out evenly; change the layout or gpus_per_node"
        )
    return world_size // ranks, ranks


def _facts(job: TrainingJob, rows: Sequence[dict[str, float]]) -> dict[str, Any]:
    """What later stages and people want to know without opening the artifact."""
    steps = [row for row in rows if "loss" in row]
    validation = [row["validation_loss"] for row in rows if "validation_loss" in row]
    skipped, sizes = SkippedBatches(job.output / SKIPPED_FILE), BatchSizes(job.settings)
    samples = sum(len(sizes.samples(skipped.batch(iteration))) for iteration in range(job.train_iters))
    facts = {
        "iterations": job.train_iters,
        "layout": str(job.settings.layout.for_rank(0)),
        "peak_lr": job.settings.lr,
        "vocab_size": job.vocab_size,
        "tokens": samples * job.settings.sequence_length,
        "first_loss": steps[0]["loss"],
        "final_loss": steps[-1]["loss"],
        "median_tokens_per_second": _median(steps, "tokens_per_second"),
        "median_data_stall": _median(steps, "data_stall"),
        "peak_memory_bytes": round(steps[-1]["peak_memory_bytes"]),
        "device_hours": sum(start.device_hours for start in read_usage(job.output / USAGE_FILE)),
    }
    if "mfu" in steps[-1]:
        facts |= {"median_mfu": _median(steps, "mfu"), "median_mfu_6n": _median(steps, "mfu_6n")}
    if skipped.ranges:
        facts["skipped_batches"] = ", ".join(f"{batches.start} to {batches.stop - 1}" for batches in skipped.ranges)
    if validation:
        facts |= {"first_validation_loss": validation[0], "final_validation_loss": validation[-1]}
    return facts
