"""How closely a quantized model follows the original: divergence per token, agreement and perplexity."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from compressed_tensors.offload import dispatch_model, get_device_map, set_onload_device
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from components.platform.progress import Progress
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
def logits(model: PreTrainedModel, samples: Sequence[torch.Tensor], label: str) -> Iterator[torch.Tensor]:
    """What `model` expects after each token of `samples` (token ids of shape [tokens]).

    Args:
        label: what the work is called in the progress shown.

    Yields:
        Logits as the model gives them, on the CPU, of shape [tokens, vocabulary], one sample after the other.
    """
    if torch.accelerator.is_available():
        with stderr_only_on_failure():
            _to_accelerator(model)
    with Progress(label, len(samples), "documents") as progress:
        for ids in samples:
            yield model(input_ids=ids[None].to(model.device), use_cache=False).logits[0].cpu()
            progress.update(1)


def _to_accelerator(model: PreTrainedModel) -> None:
    """Put as much of a model on the accelerator as fits; the rest visits it, layer by layer."""
    if any(place == "disk" for _, place in get_device_map(model).values()):
        set_onload_device(model, torch.accelerator.current_accelerator())  # the other way would read it all at once
    else:
        dispatch_model(model)


def save_each(tensors: Iterable[torch.Tensor], folder: Path) -> None:
    """Keep tensors on disk, a file for each: of a large model's logits not all fit in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, tensor in enumerate(tensors):
        temporary = folder / ".partial"
        save_file({"tensor": tensor.contiguous()}, temporary)
        os.replace(temporary, folder / f"{number:06}.safetensors")


def load_each(folder: Path) -> Iterator[torch.Tensor]:
    """The tensors that `save_each` kept, in their order, one at a time."""
    for path in sorted(folder.glob("*.safetensors")):
        yield load_file(path)["tensor"]


def compare(
    original: Iterable[torch.Tensor], quantized: Iterable[torch.Tensor], samples: Iterable[torch.Tensor]
) -> Fidelity:
    """Compare two models' logits on the same samples, in float32 and with sums in float64."""
    divergence, loss, same, positions, predicted = 0.0, 0.0, 0, 0, 0
    for p_logits, q_logits, ids in zip(original, quantized, samples, strict=True):
        p, q = (logits.float().log_softmax(dim=-1) for logits in (p_logits, q_logits))
        divergence += (p.exp() * (p - q)).sum(dtype=torch.float64).item()
        same += int((p.argmax(dim=-1) == q.argmax(dim=-1)).sum())
        positions += len(ids)
        loss -= q[:-1].gather(1, ids[1:, None]).sum(dtype=torch.float64).item()
        predicted += len(ids) - 1
    return Fidelity(divergence / positions, same / positions, math.exp(loss / predicted))
