"""The two training loops, with the same weights, the same samples and the same AdamW."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from benchmarks.train.cases import Case

LR, BETAS, EPS, WEIGHT_DECAY, CLIP = 1e-3, (0.9, 0.95), 1e-5, 0.1, 1.0
DEVIATION = 0.02  # of the random weights
KERNELS = {"flash": SDPBackend.FLASH_ATTENTION, "math": SDPBackend.MATH}

Step = Callable[[int], float]
"""Takes the number of the step; returns the loss."""


def attention_kernel(case: Case) -> AbstractContextManager[Any]:
    """Holds attention to the case's kernel."""
    return nullcontext() if case.attention == "any" else sdpa_kernel(KERNELS[case.attention])


def our_loop(case: Case) -> Step:
    """The engine as the trainer uses it, in the layout of the case; every rank calls it."""
    from components.training.engine.engine import Engine, MicroBatch
    from components.training.models.llama.config import LlamaConfig
    from components.training.process import start_process
    from components.training.settings import SftSettings

    tensor, pipeline, data = case.layout
    settings = SftSettings(
        layout={"tensor_parallel_size": tensor, "pipeline_parallel_size": pipeline, "data_parallel_size": data},
        sequence_length=case.sequence,
        micro_batch_size=case.micro_batch,
        global_batch_size=case.micro_batch * case.micro_batches,
        lr=LR,
        lr_warmup_iters=0,
        weight_decay=WEIGHT_DECAY,
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        adam_eps=EPS,
        clip_grad=CLIP,
        dtype=case.dtype,
        recompute=case.recompute,
        compile=case.compile,
        data={"conversations": ["none.jsonl"]},
        train_iters=1,
    )
    process = start_process(settings.layout, timeout_minutes=5)
    layout = process.layout
    config = LlamaConfig.from_hf(case.shape.hf_config(case.sequence), case.name)
    engine = Engine(config, settings, layout, process.groups)
    for name, parameter in engine.parameters().items():
        fill(name, parameter, layout.tensor_rank, tensor)
    engine.start()
    if case.fused is not None:
        for group in engine._deepspeed.optimizer.optimizer.param_groups:
            group |= {"fused": case.fused, "foreach": not case.fused}

    def step(number: int) -> float:
        batches = []
        if layout.is_first_stage or layout.is_last_stage:
            first = layout.data_rank * settings.micro_batches
            for index in range(first, first + settings.micro_batches):
                tokens = micro_batch(case, number, index)
                mask = torch.ones(case.micro_batch, case.sequence)
                batches.append(MicroBatch(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), mask))
        return engine.train_step(batches, LR).loss

    return step


def hugging_face_loop(case: Case) -> Step:
    """What a user of `transformers` writes, with gradient accumulation and clipping."""
    from transformers import AutoConfig, AutoModelForCausalLM

    record = case.shape.hf_config(case.sequence)
    config = AutoConfig.for_model(**record)
    with torch.device(case.device):
        model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", dtype=torch.float32)
    for name, parameter in model.named_parameters():
        fill(name, parameter)
    if case.dtype == "pure-bf16":
        model.to(torch.bfloat16)
    if case.recompute == "full":
        model.gradient_checkpointing_enable()
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=BETAS, eps=EPS, fused=case.fused)
    model.train()

    def step(number: int) -> float:
        total = torch.zeros((), device=case.device)
        for index in range(case.micro_batches):
            tokens = micro_batch(case, number, index).to(case.device)
            with torch.autocast(case.device, torch.bfloat16, enabled=case.dtype == "bf16"):
                logits = model(tokens[:, :-1]).logits
            loss = cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten()) / case.micro_batches
            loss.backward()
            total += loss.detach()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        return total.item()

    return step


def micro_batch(case: Case, step: int, index: int) -> Tensor:
    """Random tokens [micro_batch, sequence + 1], the same for every loop and layout."""
    generator = torch.Generator().manual_seed(step * case.micro_batches + index)
    return torch.randint(case.shape.vocabulary, (case.micro_batch, case.sequence + 1), generator=generator)


@torch.no_grad()
def fill(name: str, parameter: nn.Parameter, tensor_rank: int = 0, tensor_size: int = 1) -> None:
    """Random weights that are a function of the name: the slice of tensor rank `tensor_rank`, if it is sliced."""
    if parameter.dim() == 1:
        parameter.fill_(1.0)
        return
    dim = getattr(parameter, "partition_dim", 0)
    shape = list(parameter.shape)
    shape[dim] *= tensor_size
    generator = torch.Generator(parameter.device).manual_seed(zlib.crc32(name.encode()))
    whole = torch.empty(shape, device=parameter.device).normal_(0.0, DEVIATION, generator=generator)
    parameter.copy_(whole.chunk(tensor_size, dim)[tensor_rank])
