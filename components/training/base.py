"""A new small Llama with random weights, as a Hugging Face folder."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from components.platform.storage import write_atomically
from components.training.models.llama.config import LlamaConfig


def write_new_model(config: LlamaConfig, initializer_range: float, seed: int, folder: Path) -> None:
    """Write `config.json` and `model.safetensors` (float32); the same arguments give the same bytes.

    Weights are normal with standard deviation `initializer_range`; projections back into the residual stream are
    scaled by 1/√(2 · layers), so that its variance doesn't grow with depth (Radford et al. 2019, §2.3).
    """
    folder.mkdir(parents=True, exist_ok=True)
    residual = initializer_range / math.sqrt(2 * config.num_hidden_layers)
    tensors = {}
    for name, shape in tensor_shapes(config).items():
        if len(shape) == 1:
            tensors[name] = torch.ones(shape)
        else:
            deviation = residual if name.endswith(("o_proj.weight", "down_proj.weight")) else initializer_range
            tensors[name] = _normal(name, shape, deviation, seed)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_atomically(folder / "config.json", json.dumps(_hf_config(config, initializer_range), indent=1))


def tensor_shapes(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all weights, as Hugging Face stores them."""
    hidden, intermediate = config.hidden_size, config.intermediate_size
    queries, keys = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    layer = {
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "mlp.gate_proj": (intermediate, hidden),
        "mlp.up_proj": (intermediate, hidden),
        "mlp.down_proj": (hidden, intermediate),
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
    }
    layers = {
        f"model.layers.{index}.{name}.weight": shape
        for index in range(config.num_hidden_layers)
        for name, shape in layer.items()
    }
    vocabulary = (config.vocab_size, hidden)
    head = {} if config.tie_word_embeddings else {"lm_head.weight": vocabulary}
    return {"model.embed_tokens.weight": vocabulary, **layers, "model.norm.weight": (hidden,), **head}


def _normal(name: str, shape: tuple[int, ...], deviation: float, seed: int) -> Tensor:
    # Each tensor has its own stream, so a tensor's values don't depend on the ones before it.
    generator = torch.Generator().manual_seed(seed ^ zlib.crc32(name.encode()))
    return torch.empty(shape).normal_(0.0, deviation, generator=generator)


def _hf_config(config: LlamaConfig, initializer_range: float) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "rms_norm_eps": config.rms_norm_eps,
        "max_position_embeddings": config.max_position_embeddings,
        "rope_theta": config.rope.theta,
        "initializer_range": initializer_range,
        "tie_word_embeddings": config.tie_word_embeddings,
        "attention_bias": False,
        "mlp_bias": False,
        "torch_dtype": "float32",
    }
