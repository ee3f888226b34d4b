"""Configurations of all families against transformers' reading of the same `config.json`, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.platform.errors import InputError
from components.training.models import read_config
from components.training.models.common.config import ModelConfig, layout_problems
from components.training.models.falcon.config import FalconConfig
from components.training.models.mistral.config import MistralConfig
from components.training.parallel.layout import ParallelLayout
from tests.training.tiny import FAMILIES

# The published values: https://huggingface.co/tiiuae/falcon-7b, falcon-40b, falcon-11B; mistralai/Mistral-7B-v0.1, v0.3
FALCON_7B = {"model_type": "falcon", "vocab_size": 65024, "hidden_size": 4544, "num_hidden_layers": 32}
FALCON_7B |= {"num_attention_heads": 71, "multi_query": True, "parallel_attn": True, "new_decoder_architecture": False}
FALCON_40B = {"model_type": "falcon", "vocab_size": 65024, "hidden_size": 8192, "num_hidden_layers": 60}
FALCON_40B |= {"num_attention_heads": 128, "num_kv_heads": 8, "new_decoder_architecture": True}
FALCON_11B = {"model_type": "falcon", "vocab_size": 65024, "hidden_size": 4096, "num_hidden_layers": 60}
FALCON_11B |= {"num_attention_heads": 32, "num_kv_heads": 8, "new_decoder_architecture": True}
FALCON_11B |= {"num_ln_in_parallel_attn": 1, "tie_word_embeddings": False}
MISTRAL_01 = {"model_type": "mistral", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336}
MISTRAL_01 |= {"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "sliding_window": 4096}


def read(folder: Path, record: dict[str, object]) -> ModelConfig:
    (folder / "config.json").write_text(json.dumps(record))
    return read_config(folder)


def test_falcons(tmp_path: Path) -> None:
    small, large, new = (read(tmp_path, record) for record in (FALCON_7B, FALCON_40B, FALCON_11B))
    assert isinstance(small, FalconConfig)
    assert (small.num_key_value_heads, small.separate_norms, small.head_dim, small.intermediate_size) == (
        (1, False, 64, 18176)
    )
    assert (large.num_key_value_heads, large.separate_norms, large.tie_word_embeddings) == (8, True, True)
    assert (new.num_key_value_heads, new.separate_norms, new.tie_word_embeddings) == (8, False, False)


def test_mistral_windows(tmp_path: Path) -> None:
    """Version 0.1 has one; 0.3 says null; and no key at all is transformers' default of 4096."""
    assert isinstance(read(tmp_path, MISTRAL_01), MistralConfig)
    without = {key: value for key, value in MISTRAL_01.items() if key != "sliding_window"}
    assert read(tmp_path, MISTRAL_01).sliding_window == 4096
    assert read(tmp_path, MISTRAL_01 | {"sliding_window": None}).sliding_window is None
    assert read(tmp_path, without).sliding_window == 4096


@pytest.mark.parametrize("family", FAMILIES)
def test_defaults_are_those_of_transformers(tmp_path: Path, family: str) -> None:
    """Of the keys that a `config.json` may leave out."""
    from transformers import AutoConfig

    required = ("model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")
    required += ("num_attention_heads", "new_decoder_architecture")
    record = {key: value for key, value in FAMILIES[family].items() if key in required}
    config, hf = read(tmp_path, record), AutoConfig.for_model(**record)
    if family == "falcon-7b":  # transformers decides in the attention module, whatever num_kv_heads says
        assert config.num_key_value_heads == 1
    else:
        assert config.num_key_value_heads == getattr(hf, "num_key_value_heads", None) or hf.num_kv_heads
    assert config.head_dim == getattr(hf, "head_dim", None) or hf.hidden_size // hf.num_attention_heads
    assert config.intermediate_size == getattr(hf, "intermediate_size", None) or hf.ffn_hidden_size
    assert config.max_position_embeddings == hf.max_position_embeddings
    assert config.tie_word_embeddings == hf.tie_word_embeddings
    assert config.rope.theta == hf.rope_parameters["rope_theta"]
    for name in ("rms_norm_eps", "layer_norm_epsilon", "sliding_window"):
        assert getattr(config, name, None) == getattr(hf, name, None)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"model_type": "mamba"}, "model_type is 'mamba'; supported are falcon, llama, mistral"),
        ({}, "model_type is None; supported are"),
        (FALCON_7B | {"alibi": True}, "alibi is true; only Falcon models with rotary positions"),
        (FALCON_7B | {"bias": True}, "bias is True; only False"),
        (FALCON_7B | {"parallel_attn": False}, "parallel_attn is False; only True"),
        (FALCON_7B | {"activation": "relu"}, "activation is 'relu'; only 'gelu'"),
        (FALCON_7B | {"num_attention_heads": 70}, "hidden_size 4544 is not divisible by num_attention_heads 70"),
        (FALCON_7B | {"vocab_size": None}, "the key 'vocab_size' is missing"),
        (MISTRAL_01 | {"rope_scaling": {"type": "yarn"}}, "rope type 'yarn'; supported are default, linear, llama3"),
        (MISTRAL_01 | {"hidden_act": "gelu"}, "hidden_act is 'gelu'; only 'silu'"),
        (MISTRAL_01 | {"hidden_size": None}, "the key 'hidden_size' is missing"),
    ],
)
def test_refused(tmp_path: Path, record: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, record)


def test_multi_query_attention_does_not_split(tmp_path: Path) -> None:
    config = read(tmp_path, FALCON_7B)
    assert layout_problems(config, ParallelLayout(1, 4, 8), 2048) == []
    problems = "; ".join(layout_problems(config, ParallelLayout(2, 1, 1), 2048))
    assert "num_key_value_heads 1 is not divisible by tensor_parallel_size 2" in problems
    assert layout_problems(read(tmp_path, FALCON_40B), ParallelLayout(8, 4, 1), 2048) == []
