"""Rotary positions against Hugging Face's, for each kind of scaling."""

from __future__ import annotations

import pytest
import torch

from components.training.models.common.rotary import inverse_frequencies, rotary_table
from components.training.models.llama.config import LlamaConfig

SCALINGS = {
    "default": {"rope_type": "default"},
    "linear": {"rope_type": "linear", "factor": 4.0},
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
}


@pytest.mark.parametrize("kind", SCALINGS)
@pytest.mark.parametrize("written_by", ["transformers 4", "transformers 5"])
def test_equals_hf(kind: str, written_by: str) -> None:
    from transformers import LlamaConfig as HfConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    scaling = dict(SCALINGS[kind])
    record = {"model_type": "llama", "vocab_size": 10, "hidden_size": 128, "intermediate_size": 64}
    record |= {"num_hidden_layers": 1, "num_attention_heads": 4, "max_position_embeddings": 512}
    if written_by == "transformers 4":
        record |= {"rope_theta": 50000.0, "rope_scaling": scaling if kind != "default" else None}
    else:
        record |= {"rope_parameters": scaling | {"rope_theta": 50000.0}}
    config = LlamaConfig.from_hf(record, "test")
    hf = LlamaRotaryEmbedding(HfConfig(**record))
    torch.testing.assert_close(inverse_frequencies(config.rope, config.head_dim), hf.inv_freq)

    cos, sin = hf(torch.empty(1, 512, 128), torch.arange(512)[None])
    table = rotary_table(config.rope, config.head_dim, 512, torch.device("cpu"), torch.float32)
    torch.testing.assert_close(table[0][:, 0, 0], cos[0])
    torch.testing.assert_close(table[1][:, 0, 0], sin[0])
