"""Tiny models and batches for the training tests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from components.platform.chat import CHAT_TEMPLATE
from components.platform.indexed import IndexedWriter
from components.platform.manifest import MANIFEST_NAME, Manifest
from components.training.data.sample import positions_in_documents
from components.training.models.common.config import RopeConfig
from components.training.models.llama.config import LlamaConfig
from components.training.settings import PretrainSettings

TEXT = """
Patients with acute myocardial infarction should receive aspirin at once unless it is contraindicated; beta blockers
reduce mortality after infarction, and statins lower the risk of a second event whatever the first cholesterol value.
In type 2 diabetes, metformin remains the first choice; add an inhibitor when heart failure or kidney disease is known.
Pneumonia acquired in the community is treated with amoxicillin for five days when the patient improves within three.
"""

TINY = LlamaConfig(
    vocab_size=96,
    hidden_size=32,
    intermediate_size=80,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    rms_norm_eps=1e-5,
    max_position_embeddings=64,
    rope=RopeConfig(),
)

# Sizes as in Hugging Face's config.json; losses stay below 4, where a float32 is exact to 2.4e-7
SMALL = {"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 4, "max_position_embeddings": 64}
MLP_AND_HEADS = {"intermediate_size": 80, "num_attention_heads": 4, "num_key_value_heads": 2}
FAMILIES: dict[str, dict[str, object]] = {
    "llama": SMALL | MLP_AND_HEADS | {"model_type": "llama", "rope_theta": 5e5},
    "llama-mha": SMALL | MLP_AND_HEADS | {"model_type": "llama", "num_key_value_heads": 4},
    "llama-tied": SMALL | MLP_AND_HEADS | {"model_type": "llama", "tie_word_embeddings": True},
    "mistral": SMALL | MLP_AND_HEADS | {"model_type": "mistral", "sliding_window": 7},
    # Multi-query attention, one norm, tied embeddings
    "falcon-7b": SMALL | {"model_type": "falcon", "num_attention_heads": 2},
    # Grouped queries, a norm for each branch
    "falcon-40b": SMALL
    | {"model_type": "falcon", "num_attention_heads": 4, "num_kv_heads": 2, "new_decoder_architecture": True},
}


def write_tiny_model(family: str, folder: Path, **changes: object) -> None:
    """A model of `FAMILIES` with random weights, as transformers writes it; norms are random too."""
    from transformers import AutoConfig, AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**FAMILIES[family] | changes))
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if parameter.dim() == 1 and name.endswith("weight") else 0.0
            parameter.normal_(centre, 0.1, generator=generator)
    model.save_pretrained(folder)


def random_batch(step: int, samples: Iterable[int], vocab_size: int, separate: bool = False):
    """Samples that are a function of (step, sample), with masks of very different lengths.

    `separate`: each consists of three documents that don't see each other, the second beginning where no other does.
    """
    from components.training.engine.engine import MicroBatch

    rows, masks, positions = [], [], []
    for sample in samples:
        generator = torch.Generator().manual_seed(1000 * step + sample)
        rows.append(torch.randint(vocab_size, (33,), generator=generator))
        masks.append((torch.arange(32) >= 3 * sample).float())
        starts = np.array([0, 1 + sample + step % 3, 20])
        positions.append(torch.from_numpy(positions_in_documents(starts, 32)))
    tokens = torch.stack(rows)
    return MicroBatch(
        tokens[:, :-1].contiguous(),
        tokens[:, 1:].contiguous(),
        torch.stack(masks),
        torch.stack(positions) if separate else None,
    )


def make_tokenizer(folder: Path, vocab_size: int = 400) -> None:
    """A byte-level BPE tokenizer as the corpus stage writes them."""
    tokenizer = Tokenizer(BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    special = ["<unk>", "<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>"]
    trainer = BpeTrainer(vocab_size=vocab_size, special_tokens=special, initial_alphabet=ByteLevel.alphabet())
    tokenizer.train_from_iterator([TEXT], trainer)
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    config |= {"unk_token": "<unk>", "pad_token": "<pad>", "chat_template": CHAT_TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def make_corpus(folder: Path) -> Manifest:
    """A finished corpus artifact of two groups, small and learnable."""
    make_tokenizer(folder / "tokenizer")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
    end = tokenizer.token_to_id("</s>")
    words = TEXT.split()
    random = np.random.default_rng(0)
    for split, documents in (("train", 60), ("validation", 6)):
        for group in ("guidelines", "papers"):
            with IndexedWriter(folder / "tokens" / split / group, np.uint16) as writer:
                for _ in range(documents):
                    text = " ".join(random.permutation(words))
                    writer.add([*tokenizer.encode(text).ids, end])
    stats = {"mixture": {"guidelines": 1.0, "papers": 3.0}, "vocab_size": tokenizer.get_vocab_size()}
    (folder / "stats.json").write_text(json.dumps(stats))
    manifest = Manifest.of_folder("corpus", folder)
    manifest.save(folder / MANIFEST_NAME)
    return manifest


def tiny_settings(layout: tuple[int, int, int], **changes: object) -> PretrainSettings:
    """Settings of a small float32 run in a layout of (TP, PP, DP)."""
    names = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
    settings = {
        "layout": dict(zip(names, layout, strict=True)),
        "sequence_length": 32,
        "micro_batch_size": 2,
        "global_batch_size": 8,
        "lr": 1e-3,
        "lr_warmup_iters": 0,
        "dtype": "fp32",
        "base": {"path": "unused"},
        "train_iters": 4,
    }
    return PretrainSettings(**settings | changes)
