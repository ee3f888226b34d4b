"""A tiny Llama with its tokenizer, and texts that the tokenizer knows."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from components.platform.chat import CHAT_TEMPLATE, SPECIAL_TOKENS
from components.platform.manifest import Manifest
from components.platform.questions.benchmark import load_benchmark

WORDS = ("aspirin", "fever", "patient", "dose", "therapy", "acute", "renal", "cardiac", "risk", "trial", "cells")


def texts(count: int, offset: int) -> list[str]:
    """Different texts of a few hundred characters each."""
    return [" ".join(WORDS[(i * j + offset) % len(WORDS)] for j in range(40 + i % 7)) for i in range(1, count + 1)]


def save_tokenizer(folder: Path) -> None:
    """A byte-level BPE tokenizer with ChatML."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<unk>", "<s>", "</s>", "<pad>", *SPECIAL_TOKENS]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=special, initial_alphabet=alphabet)
    instruction = load_benchmark("pubmedqa").instruction  # for conversations to be short
    tokenizer.train_from_iterator([*texts(20, 0), *[instruction] * 5], trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)


def tiny_llama(dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    """Hidden 128, 4 layers, vocabulary 4096, random weights."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        vocab_size=4096,
        max_position_embeddings=256,
        dtype=dtype,
    )
    return LlamaForCausalLM(config).to(dtype)


def add_outliers(model: LlamaForCausalLM, factor: float = 30.0) -> None:
    """Give every twelfth channel large activations and small weights; the function of the model stays the same."""
    channels = torch.arange(5, model.config.hidden_size, 12)
    with torch.no_grad():
        for layer in model.model.layers:
            attention, mlp = layer.self_attn, layer.mlp
            for norm, projections in (
                (layer.input_layernorm, (attention.q_proj, attention.k_proj, attention.v_proj)),
                (layer.post_attention_layernorm, (mlp.gate_proj, mlp.up_proj)),
            ):
                norm.weight[channels] *= factor
                for projection in projections:
                    projection.weight[:, channels] /= factor


def as_artifact(model: LlamaForCausalLM, folder: Path) -> Manifest:
    model.save_pretrained(folder / "model")
    save_tokenizer(folder / "model")
    return Manifest.of_folder("sft", folder)
