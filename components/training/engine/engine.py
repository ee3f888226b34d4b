"""The seam between the training loop and DeepSpeed: build, train step, eval step, state in and out."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from torch import Tensor, nn

from components.training.checkpoint.fragments import Fragment, place_of
from components.training.engine.pipeline import Pipeline, deepspeed_config
from components.training.engine.zero import continue_from_masters, owned_part, step_count
from components.training.models.common.config import ModelConfig
from components.training.parallel.groups import ProcessGroups
from components.training.parallel.layout import ParallelLayout
from components.training.settings import TrainingSettings


@dataclass(frozen=True)
class MicroBatch:
    """Samples of one forward pass, each [micro_batch_size, sequence_length].

    `targets` are the tokens that follow; `mask` (float32) says how much each of them counts.
    `positions` (int64) are those of the tokens within their documents, which then don't see each other; None: each
    sample is one document. All micro-batches of a run have them, or none has.
    """

    tokens: Tensor
    targets: Tensor
    mask: Tensor
    positions: Tensor | None = None

    @property
    def inputs(self) -> Tensor | tuple[Tensor, Tensor]:
        """What the first stage is given."""
        return self.tokens if self.positions is None else (self.tokens, self.positions)


@dataclass(frozen=True)
class StepResult:
    """Loss (mean over the tokens of the global batch, in nats) and gradient norm before clipping."""

    loss: float
    grad_norm: float


class Engine:
    """One rank's share of a model in training. All methods are collective: every rank calls them together."""

    def __init__(
        self, config: ModelConfig, settings: TrainingSettings, layout: ParallelLayout, groups: ProcessGroups
    ) -> None:
        self.layout, self.groups, self.settings, self._config = layout, groups, settings, config
        deepspeed.init_distributed(dist_backend=dist.get_backend(), verbose=False)
        with redirect_stdout(io.StringIO()):  # DeepSpeed prints its topology
            self._pipeline = Pipeline(config, settings, layout, groups)
        self._deepspeed: Any = None

    def parameters(self) -> dict[str, nn.Parameter]:
        """This rank's slices of the weights, under their Hugging Face names."""
        return self._pipeline.hf_parameters()

    def start(self) -> None:
        """Set up optimizer and communication; call it once the weights are loaded."""
        self._deepspeed, *_ = deepspeed.initialize(
            model=self._pipeline,
            optimizer=_adamw(self._pipeline, self.settings),
            config=deepspeed_config(self.settings, self.settings.micro_batches),
        )

    def train_step(self, batches: Sequence[MicroBatch], lr: float, count: int | None = None) -> StepResult:
        """One optimizer step over this rank's micro-batches of the global batch.

        Args:
            batches: as many as `count`; empty on the stages in between, which see no samples.
            lr: learning rate of this step.
            count: micro-batches on each data-parallel rank; None: `settings.micro_batches`.
        """
        for group in self._deepspeed.optimizer.optimizer.param_groups:
            group["lr"] = lr
        count = count or self.settings.micro_batches
        ranks = self.layout.data_parallel_size
        self._deepspeed.set_train_batch_size(count * self.settings.micro_batch_size * ranks)
        loss = self._deepspeed.train_batch(self._feed(batches, count))
        return StepResult(loss.item(), float(self._deepspeed.get_global_grad_norm()))

    def eval_step(self, batches: Sequence[MicroBatch], count: int) -> float:
        """Mean loss over the tokens of `count` micro-batches on each data-parallel rank."""
        feed = self._feed(batches, count)
        return self._deepspeed.eval_batch(feed, num_micro_batches=count).item()

    def logits(self, batches: Sequence[MicroBatch]) -> Tensor | None:
        """This rank's slice [sequence, batch, vocabulary / TP] of one micro-batch's logits; None before the last stage.

        Args:
            batches: a single one; none on the stages in between.
        """
        _, logits = self._deepspeed.eval_batch(self._feed(batches, 1), return_logits=True, num_micro_batches=1)
        return logits

    def first_gradients(self) -> Iterator[tuple[str, Tensor]]:
        """After the first step without clipping: this rank's slice of each gradient, as the optimizer received it.

        Reductions free or scatter the gradients themselves, but Adam's first moment is then (1 - β₁) · gradient.
        """
        for name, parameter in self.parameters().items():
            moment = torch.zeros(parameter.numel(), device=parameter.device)
            part = owned_part(self._deepspeed.optimizer, parameter)
            if part is not None:
                start, state = part
                own = state["exp_avg"]
                moment[start : start + len(own)] = own
            dist.all_reduce(moment, group=self.groups.data)
            yield name, moment.view_as(parameter) / (1 - self.settings.adam_beta1)

    @property
    def step_count(self) -> int:
        """Steps that the optimizer has taken."""
        return step_count(self._deepspeed.optimizer)

    def fragments(self) -> dict[str, Fragment]:
        """What this rank owns of float32 weights and Adam moments, by Hugging Face name.

        They are views: to load a checkpoint is to fill them and call `continue_from_fragments`.
        """
        fragments = {}
        for name, parameter in self.parameters().items():
            part = owned_part(self._deepspeed.optimizer, parameter)
            if part is not None:
                fragments[name] = self._fragment(name, parameter, *part)
        return fragments

    def continue_from_fragments(self, step: int) -> None:
        """Go on after `step` optimizer steps from what `fragments` was filled with."""
        continue_from_masters(self._deepspeed.optimizer, step)

    def _fragment(self, name: str, parameter: nn.Parameter, start: int, tensors: dict[str, Tensor]) -> Fragment:
        is_vocabulary = name in self._config.weight_names.vocabulary
        partition_dim = getattr(parameter, "partition_dim", None)
        is_tied_copy = is_vocabulary and self._config.tie_word_embeddings and not self.layout.is_first_stage
        return Fragment(
            place_of(
                parameter.shape,
                partition_dim,
                self.layout.tensor_rank,
                self.layout.tensor_parallel_size,
                start,
                unpadded=self._config.vocab_size if is_vocabulary else None,
            ),
            tensors,
            is_replica=is_tied_copy or (partition_dim is None and self.layout.tensor_rank > 0),
        )

    def _feed(self, batches: Sequence[MicroBatch], count: int) -> Iterator[tuple[Tensor, Any]] | None:
        """Micro-batches as DeepSpeed takes them: (inputs, labels)."""
        if not batches:
            return None
        scale = self._loss_scale(batches, count)
        return iter([(batch.inputs, (batch.targets, batch.mask, scale)) for batch in batches])

    def _loss_scale(self, batches: Sequence[MicroBatch], count: int) -> Tensor:
        """The factor that turns DeepSpeed's mean over micro-batches into a mean over tokens.

        DeepSpeed averages over `count` micro-batches and over data-parallel ranks. A mean of means would weigh a
        token more the fewer its micro-batch has; so each micro-batch reports Σ loss · (count · ranks / all tokens).
        """
        tokens = torch.stack([batch.mask.sum(dtype=torch.float64) for batch in batches]).sum()
        tokens = tokens.to(self._deepspeed.device)
        dist.all_reduce(tokens, group=self.groups.data)
        return (count * self.groups.data.size() / tokens.clamp(min=1)).float()


def _adamw(model: nn.Module, settings: TrainingSettings) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019) with weight decay on matrices only, as in Megatron; on GPUs in one kernel."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
        lr=settings.lr,
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_eps,
        fused=True if matrices[0].is_cuda else None,
    )
