"""A tiny random Llama with a tokenizer of the corpus' kind, as artifact; and three small benchmarks."""

import csv
import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from components.evaluation.engine.huggingface import HuggingFaceEngine
from components.platform.chat import CHAT_TEMPLATE, SPECIAL_TOKENS
from components.platform.context import PlatformSettings, TrackingSettings
from components.platform.manifest import Manifest

QUESTIONS_EACH = 30
TEXT = "question answer yes no maybe physician the of to examination"


def make_tokenizer(special_tokens=SPECIAL_TOKENS, vocab_size=400, text=TEXT, **others):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<unk>", "<s>", "</s>", "<pad>", *special_tokens],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator([text] * 3, trainer)
    settings = {"unk_token": "<unk>", "eos_token": "</s>", "pad_token": "<pad>", "chat_template": CHAT_TEMPLATE}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **settings | others)


def make_model(max_position_embeddings=1024):
    config = LlamaConfig(
        vocab_size=400,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=max_position_embeddings,
        initializer_range=0.5,  # far from uniform, so that prompts differ in their answers
    )
    torch.manual_seed(0)
    return LlamaForCausalLM(config)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifact") / "model"
    make_model().save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model(model_folder):
    return Manifest.of_folder("sft", model_folder.parent)


@pytest.fixture(scope="session")
def engine(model_folder):
    return HuggingFaceEngine(model_folder)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for name in ("pubmedqa", "medqa", "mmlu"):
        (root / "eval" / name).mkdir(parents=True)
    numbers = range(QUESTIONS_EACH)
    records = {
        str(number): {
            "QUESTION": f"Does drug {number} help?",
            "CONTEXTS": [f"Drug {number} was tried in {number} patients. " * (number % 4 + 1)],
            "final_decision": ["yes", "no", "maybe"][number % 3],
        }
        for number in numbers
    }
    decisions = {number: record["final_decision"] for number, record in records.items()}
    trained = {f"t{number}": record | {"QUESTION": f"{record['QUESTION']} Once?"} for number, record in records.items()}
    (root / "eval/pubmedqa/ori_pqal.json").write_text(json.dumps(records | trained))
    (root / "eval/pubmedqa/test_ground_truth.json").write_text(json.dumps(decisions))
    for split, which in (("test", "Which?"), ("train", "Which then?")):
        lines = []
        for number in numbers:
            options = {label: f"drug {label}{number}" for label in "ABCD"}
            label = "ABCD"[number % 4]
            line = {"question": f"{which} {number}", "options": options, "answer_idx": label, "answer": options[label]}
            lines.append(json.dumps(line) + "\n")
        (root / f"eval/medqa/{split}_4_options.jsonl").write_text("".join(lines))
    for subject in ("anatomy", "virology"):
        with (root / f"eval/mmlu/{subject}_test.csv").open("w", newline="") as file:
            rows = ([f"What is {number}?", "one", "two", "three", "four", "ABCD"[number % 4]] for number in numbers)
            csv.writer(file).writerows(rows)
    return root


@pytest.fixture
def platform(data: Path, tmp_path: Path):
    tracking = TrackingSettings(uri="sqlite:///unused.db")
    return PlatformSettings(data=str(data), workspace=str(tmp_path / "runs"), tracking=tracking)
