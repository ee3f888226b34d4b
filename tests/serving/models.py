"""Tiny models that were exported as a training run exports them, and say what they were taught."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import torch
from tokenizers import Tokenizer

from components.corpus.tokenizer import save_trained, trained
from tests.quantization.tiny_llama import WORDS, texts, tiny_llama
from tests.training.ranks import run_ranks
from tests.training.tiny import tiny_settings

ENDLESS_START = "<u>"  # what a chat page must not take for markup
ENDLESS_CYCLE = " " + " ".join(WORDS)


def export_models(folder: Path) -> None:
    """`cat/model` answers every question with "cat", `endless/model` with <u> and a list of words without end."""
    tokenizer = trained(texts(20, 0), 400)
    save_trained(tokenizer, folder / "tokenizer")
    cat = _ids(tokenizer, "\ncat<|im_end|>")
    start, cycle = _ids(tokenizer, f"\n{ENDLESS_START}"), _ids(tokenizer, ENDLESS_CYCLE)
    for name, chain in (("cat", cat), ("endless", [*start, *cycle, cycle[0]])):
        model = tiny_llama()
        _teach(model, chain)
        model.config.max_position_embeddings = 256 if name == "cat" else 65_536
        model.save_pretrained(folder / "base" / name)
    run_ranks(1, _export, folder)


def _ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text).ids


def _teach(model: torch.nn.Module, chain: list[int]) -> None:
    """Make each token predict its successor: embeddings one-hot, layers silent, head a table."""
    assert len({*chain}) >= len(chain) - 1, "a token has one successor"
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.zero_()
        model.lm_head.weight.zero_()
        for position, (token, successor) in enumerate(pairwise(chain)):
            model.model.embed_tokens.weight[token, position] = 1
            model.lm_head.weight[successor, position] = 10  # so sure that drawing gives the same


def _export(folder: Path) -> None:
    """Runs in a process of its own, as one rank."""
    from components.training.convert import export_model, load_weights
    from components.training.engine.engine import Engine
    from components.training.models import read_config
    from components.training.process import start_process

    settings = tiny_settings((1, 1, 1))
    process = start_process(settings.layout, timeout_minutes=2)
    for base in (folder / "base").iterdir():
        config = read_config(base)
        engine = Engine(config, settings, process.layout, process.groups)
        load_weights(base, engine.parameters(), config, process)
        target = folder / base.name / "model"
        export_model(engine.parameters(), config, process, base, folder / "tokenizer", target)


def change_json(path: Path, **changes: object) -> None:
    """Set keys of a JSON object; None takes a key away."""
    record = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in record.items() if value is not None}))
