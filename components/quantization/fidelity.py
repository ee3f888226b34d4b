"""How closely a quantized model follows the original: divergence per token, agreement and perplexity."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from compressed_tensors.offload import dispatch_model
from transformers import PreTrainedModel

from components.platform.quiet import stderr_only_on_failure


@dataclass(frozen=True)
class Fidelity:
    """Attributes:
    kl_per_token: mean of KL(original ‖ quantized) over all positions, in nats.
    top1_agreement: share of positions where both find the same token likeliest, 0 to 1.
    perplexity: of the quantized model, each token given those before it.
    """

    kl_per_token: float
    top1_agreement: float
    perplexity: float


@torch.inference_mode()
def log_probabilities(model: PreTrainedModel, samples: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
    """What `model` expects after each token of `samples` (token ids of shape [tokens]).

    Yields:
        Log-probabilities in float32 on the CPU, of shape [tokens, vocabulary], one sample after the other.
    """
    if torch.accelerator.is_available():
        with stderr_only_on_failure():
            dispatch_model(model)  # as much of it on the accelerator as fits, the rest visits it
    for ids in samples:
        logits = model(input_ids=ids[None].to(model.device)).logits[0]
        yield logits.float().log_softmax(dim=-1).cpu()


def compare(
    original: Iterable[torch.Tensor], quantized: Iterable[torch.Tensor], samples: Iterable[torch.Tensor]
) -> Fidelity:
    """Compare two models' log-probabilities on the same samples."""
    divergence, loss, same, positions, predicted = 0.0, 0.0, 0, 0, 0
    for p, q, ids in zip(original, quantized, samples, strict=True):
        divergence += (p.exp() * (p - q)).sum(dtype=torch.float64).item()
        same += int((p.argmax(dim=-1) == q.argmax(dim=-1)).sum())
        positions += len(ids)
        loss -= q[:-1].gather(1, ids[1:, None]).sum(dtype=torch.float64).item()
        predicted += len(ids) - 1
    return Fidelity(divergence / positions, same / positions, math.exp(loss / predicted))
