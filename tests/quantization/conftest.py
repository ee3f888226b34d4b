"""A platform with questions, and a small corpus."""

from __future__ import annotations

import json
from pathlib import Path

import polars
import pytest
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from components.platform.context import PlatformSettings
from components.platform.manifest import Manifest
from tests.quantization.tiny_llama import WORDS, save_tokenizer, texts


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def platform(tmp_path: Path) -> PlatformSettings:
    """Its data are 12 PubMedQA questions: 8 to train on, 4 to be scored on."""
    questions = {
        str(number): {
            "QUESTION": f"Does {word} help against {other}?",
            "CONTEXTS": [f"We gave {word} to patients.", f"Of {number} patients {number // 2} recovered."],
            "final_decision": ("yes", "no", "maybe")[number % 3],
        }
        for number, (word, other) in enumerate(zip([*WORDS, "water"], [*WORDS[1:], "salt", "ice"], strict=True), 1)
    }
    folder = tmp_path / "data" / "eval" / "pubmedqa"
    folder.mkdir(parents=True)
    (folder / "ori_pqal.json").write_text(json.dumps(questions))
    scored = {number: questions[number]["final_decision"] for number in ("9", "10", "11", "12")}
    (folder / "test_ground_truth.json").write_text(json.dumps(scored))
    workspace = str(tmp_path / "workspace")
    return PlatformSettings(data=str(tmp_path / "data"), workspace=workspace, tracking={"uri": "unused"})


@pytest.fixture
def corpus(tmp_path: Path) -> Manifest:
    """Three groups of 12 training and 6 validation documents."""
    folder = tmp_path / "corpus"
    for split, count in (("train", 12), ("validation", 6)):
        (folder / "documents" / split).mkdir(parents=True)
        for offset, group in enumerate(("guidelines", "papers", "abstracts")):
            table = polars.DataFrame({"id": [f"{group}-{i}" for i in range(count)], "text": texts(count, offset)})
            table.write_parquet(folder / "documents" / split / f"{group}.parquet")
    return Manifest.of_folder("corpus", folder)


@pytest.fixture
def tokenizer(tmp_path: Path) -> PreTrainedTokenizerBase:
    save_tokenizer(tmp_path / "tokenizer")
    return AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
