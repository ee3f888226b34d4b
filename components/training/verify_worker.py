"""What each rank of `meditron verify` runs; `verify.py` starts it and compares what it writes."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from components.training.convert import gather_slices, load_weights
from components.training.engine.engine import Engine, MicroBatch
from components.training.models import read_config
from components.training.models.common.config import ModelConfig
from components.training.process import Process, start_process
from components.training.verify import LOSS_FILE, VerificationJob, random_tokens


def write_numbers(job: VerificationJob, process: Process) -> None:
    """One step in a parallel layout: write the loss, the logits of the first sample, and all gradients.

    `loss.safetensors` holds "loss" [1] and "logits" [sequence, vocabulary]; each stage writes its gradients, put
    together over its tensor group, as `gradients-<stage>.safetensors`.
    """
    layout, config = process.layout, read_config(job.model)
    engine = Engine(config, job.settings, layout, process.groups)
    load_weights(job.model, engine.parameters(), config, process)
    engine.start()
    batches = _own_batches(job, process, config)
    logits = engine.logits(batches[:1])
    if logits is not None:
        logits = gather_slices(logits, dim=-1, process=process)
    loss = engine.train_step(batches, job.settings.lr).loss
    writes = layout.data_rank == 0 and layout.tensor_rank == 0
    if writes and layout.is_last_stage:
        first_sample = logits[:, 0, : config.vocab_size].float().contiguous().cpu()
        save_file({"loss": torch.tensor([loss]), "logits": first_sample}, job.output / LOSS_FILE)
    gradients = whole_gradients(engine, config, process)
    if writes:
        save_file(gradients, job.output / f"gradients-{layout.pipeline_rank:03}.safetensors")


def whole_gradients(engine: Engine, config: ModelConfig, process: Process) -> dict[str, torch.Tensor]:
    """After the first step: this stage's gradients, put together over its tensor group; all its ranks must call it.

    Empty on the ranks that are not the first of their tensor group.
    """
    split = {name: getattr(parameter, "partition_dim", None) for name, parameter in engine.parameters().items()}
    whole = {}
    for name, own in engine.first_gradients():
        gradient = gather_slices(own, split[name], process)
        if gradient is not None:
            rows = config.vocab_size if name in config.weight_names.vocabulary else len(gradient)
            whole[name] = gradient[:rows].contiguous().cpu()
    return whole


def _own_batches(job: VerificationJob, process: Process, config: ModelConfig) -> list[MicroBatch]:
    """This rank's micro-batches, of one sample each; none on the stages in between."""
    layout, count = process.layout, job.settings.micro_batches
    if not (layout.is_first_stage or layout.is_last_stage):
        return []
    own = random_tokens(job.settings, config.vocab_size)[layout.data_rank * count :][:count]
    return [
        MicroBatch(row[None, :-1].contiguous(), row[None, 1:].contiguous(), torch.ones(1, len(row) - 1)) for row in own
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="one rank of a verification; start it with torchrun")
    parser.add_argument("--job", type=Path, required=True, help="job file that `verify.py` wrote")
    job = VerificationJob.model_validate_json(parser.parse_args().job.read_text(encoding="utf-8"))
    process = start_process(job.settings.layout, job.settings.collective_timeout_minutes)
    write_numbers(job, process)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
