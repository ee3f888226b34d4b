"""The model as a DeepSpeed pipeline."""

from __future__ import annotations

from functools import partial
from itertools import accumulate
from typing import Any

import torch
import torch.distributed as dist
from deepspeed.pipe import LayerSpec, PipelineModule, TiedLayerSpec
from deepspeed.runtime.pipe.topology import PipeModelDataParallelTopology
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from components.training.models.common.config import ModelConfig, layer_matrix_parameters
from components.training.models.common.documents import Documents
from components.training.models.common.plan import PlannedLayer
from components.training.models.common.recompute import SelectiveRecompute
from components.training.parallel.balance import head_cost, layers_per_stage
from components.training.parallel.groups import ProcessGroups
from components.training.parallel.layout import ParallelLayout
from components.training.parallel.loss import vocab_parallel_cross_entropy
from components.training.settings import TrainingSettings

DECODER_LAYER = "DecoderLayer"  # the class name of every family's decoder layer
TIED_KEY = "embedding"


class Pipeline(PipelineModule):
    """This rank's stage of a model: its layers, and the loss on the last stage.

    Decoder layers are spread so that all stages take about as long (`parallel.balance`). With full recomputation, each
    keeps only its input and runs its forward pass again in the backward pass; with selective recomputation, each makes
    again what is cheap; with `compile`, each is compiled by itself. Where the head shares the embedding's weights, the
    first and the last stage hold a copy each, and the engine sums the copies' gradients.
    """

    def __init__(
        self, config: ModelConfig, settings: TrainingSettings, layout: ParallelLayout, groups: ProcessGroups
    ) -> None:
        plan = config.plan_layers(groups.tensor)
        super().__init__(
            layers=[_layer_spec(layer) for layer in plan],
            topology=PipeModelDataParallelTopology(
                num_pp=layout.pipeline_parallel_size,
                num_mp=layout.tensor_parallel_size,
                num_dp=layout.data_parallel_size,
            ),
            loss_fn=partial(token_weighted_loss, group=groups.tensor),
            partition_method=_stage_bounds(config, layout, settings.sequence_length),
        )
        if settings.compile:
            for module in self.modules():
                if type(module).__name__ == DECODER_LAYER:
                    module.compile(dynamic=False)
        # The names that DeepSpeed gives to the modules of its pipeline, and Hugging Face's
        self._prefixes = {
            f"tied_modules.{TIED_KEY}." if layer.is_tied else f"{index}.": layer.weights_prefix
            for index, layer in enumerate(plan)
        }
        self._tensor_group = groups.tensor
        self._run_layer = RUN_LAYER[settings.recompute]

    def _partition_layers(self, method: list[int]) -> None:
        """Cut where `partition_method` says; DeepSpeed calls it, and would count parameters or layers."""
        self.parts = method
        stage = self.stage_id
        self._set_bounds(start=method[stage], stop=method[stage + 1])

    def forward(self, inputs: Tensor | tuple[Tensor, Tensor]) -> Tensor | tuple[Tensor, Tensor]:
        """Tokens or hidden states through this stage; positions within documents go along, if there are any.

        DeepSpeed's own forward gives each layer all that passes between stages, though only decoder layers need the
        positions; and whatever they make of them, each layer would make anew.
        """
        x, positions = inputs if isinstance(inputs, tuple) else (inputs, None)
        documents = None if positions is None else Documents(positions)
        for layer in self.forward_funcs:
            x = self._run_layer(layer, x, documents) if type(layer).__name__ == DECODER_LAYER else layer(x)
        is_last_stage = self.stage_id == self.num_stages - 1
        return x if positions is None or is_last_stage else (x, positions)

    def hf_parameters(self) -> dict[str, nn.Parameter]:
        """This stage's parameters under the names they have in a Hugging Face checkpoint."""
        return {
            hf_prefix + name.removeprefix(prefix): parameter
            for name, parameter in self.named_parameters()
            for prefix, hf_prefix in self._prefixes.items()
            if name.startswith(prefix)
        }

    @torch.no_grad()  # DeepSpeed forgets it, and autograd warns of a broadcast that it can't differentiate
    def _synchronize_tied_weights(self) -> None:
        super()._synchronize_tied_weights()

    def get_tied_weights_and_groups(self) -> list[tuple[nn.Parameter, dist.ProcessGroup]]:
        """Weights whose gradients the engine sums over a group after the last micro-batch.

        DeepSpeed asks for tied weights here. A norm's weight or bias is tied over its tensor group: each rank applied
        it to its slice of the sequence only.
        """
        norms = [p for p in self.parameters() if getattr(p, "sequence_parallel", False)]
        sharded = self._tensor_group.size() > 1
        return super().get_tied_weights_and_groups() + [(p, self._tensor_group) for p in norms if sharded]


def _keep_all(layer: nn.Module, x: Tensor, documents: Documents | None) -> Tensor:
    return layer(x, documents)


def _recompute_selectively(layer: nn.Module, x: Tensor, documents: Documents | None) -> Tensor:
    with SelectiveRecompute():
        return layer(x, documents)


RUN_LAYER = {
    "none": _keep_all,
    "selective": _recompute_selectively,
    "full": partial(checkpoint, use_reentrant=False, preserve_rng_state=False),
}
"""How a decoder layer is run, by `settings.recompute`. No layer draws random numbers."""


def _stage_bounds(config: ModelConfig, layout: ParallelLayout, sequence_length: int) -> list[int]:
    """Where each stage begins in the list of planned layers, and the list's length."""
    head = head_cost(
        config.vocab_size * config.hidden_size,
        layer_matrix_parameters(config),
        config.num_attention_heads * config.head_dim,
        sequence_length,
    )
    counts = layers_per_stage(config.num_hidden_layers, layout.pipeline_parallel_size, head)
    embedding, norm_and_head = 1, 2
    inner = list(accumulate(counts[:-1], initial=embedding))[1:]
    return [0, *inner, embedding + config.num_hidden_layers + norm_and_head]


def _layer_spec(layer: PlannedLayer) -> LayerSpec:
    if layer.is_tied:
        return TiedLayerSpec(TIED_KEY, layer.module, *layer.arguments, forward_fn=layer.forward)
    return LayerSpec(layer.module, *layer.arguments)


def token_weighted_loss(logits: Tensor, labels: tuple[Tensor, Tensor, Tensor], group: dist.ProcessGroup) -> Tensor:
    """Σ (loss · mask) · scale over the tokens of one micro-batch.

    Args:
        logits: [sequence, batch, vocabulary / TP].
        labels: targets [batch, sequence], mask [batch, sequence] and the scale (a scalar) that makes the mean over
            all micro-batches of an iteration the mean over its tokens.
        group: the tensor-parallel group.
    """
    targets, mask, scale = labels
    losses = vocab_parallel_cross_entropy(logits, targets.t(), group)
    return (losses * mask.t()).sum() * scale


def deepspeed_config(settings: TrainingSettings, micro_batches: int) -> dict[str, Any]:
    """DeepSpeed's configuration for `TrainingSettings`."""
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": settings.micro_batch_size,
        "gradient_accumulation_steps": micro_batches,
        "gradient_clipping": settings.clip_grad,
        "steps_per_print": None,
        # The bucket is allocated whole on every step, so it must not dwarf a small model.
        "zero_optimization": {"stage": 1, "reduce_bucket_size": 50_000_000},
        # DeepSpeed by default splits what passes between stages over the tensor group, as if all of its ranks held
        # the same tensor. With sequence parallelism they don't, and the loss is silently wrong (DeepSpeed #4196).
        "pipeline": {"pipe_partitioned": False, "grad_partitioned": False},
    }
    if settings.dtype == "bf16":
        config["bf16"] = {"enabled": True}
        # Without this, gradients of many micro-batches are summed in bfloat16.
        config["data_types"] = {"grad_accum_dtype": "fp32"}
    return config
