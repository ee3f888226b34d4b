"""The modules of a Mistral model. Each holds one rank's slice and knows only its tensor-parallel group.

Hidden states between modules are [sequence / TP, batch, hidden]. Module and parameter names are those of Hugging
Face's `MistralForCausalLM`.
"""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor, nn

from components.training.models.common.attention import Attention
from components.training.models.common.documents import Documents
from components.training.models.common.norms import RMSNorm, whole_sequence
from components.training.models.common.plan import PlannedLayer, plan_decoder
from components.training.models.common.swiglu import SwiGLU
from components.training.models.mistral.config import MistralConfig


class DecoderLayer(nn.Module):
    """x + attention(norm(x)) within the window, then x + mlp(norm(x))."""

    def __init__(self, config: MistralConfig, group: dist.ProcessGroup) -> None:
        super().__init__()
        self.group = group
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config, config.rope, group, config.sliding_window)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = SwiGLU(config.hidden_size, config.intermediate_size, group)

    def forward(self, x: Tensor, documents: Documents | None = None) -> Tensor:
        x = x + self.self_attn(whole_sequence(self.input_layernorm, x, self.group), documents)
        return x + self.mlp(whole_sequence(self.post_attention_layernorm, x, self.group))


def plan_layers(config: MistralConfig, group: dist.ProcessGroup) -> list[PlannedLayer]:
    """The layers that pipeline stages are cut from."""
    return plan_decoder(config, group, DecoderLayer, (RMSNorm, config.hidden_size, config.rms_norm_eps))
