"""Which documents calibrate and which validate."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from components.platform.errors import InputError, SettingsError
from components.platform.manifest import Manifest
from components.quantization.samples import _even_shares, draw_samples
from components.quantization.settings import QuantizationSettings
from tests.quantization.tiny_llama import save_tokenizer

SETTINGS = QuantizationSettings(sequence_length=50)


@pytest.fixture
def tokenizer(tmp_path: Path) -> PreTrainedTokenizerBase:
    save_tokenizer(tmp_path / "tokenizer")
    return AutoTokenizer.from_pretrained(tmp_path / "tokenizer")


def test_same_documents_every_time_and_others_with_another_seed(
    corpus: Manifest, tokenizer: PreTrainedTokenizerBase
) -> None:
    def draw(seed: int) -> list[list[int]]:
        settings = SETTINGS.model_copy(update={"seed": seed})
        return [ids.tolist() for ids in draw_samples(settings, corpus, "train", 9, tokenizer)]

    assert draw(0) == draw(0) != draw(1)
    assert len(draw(0)) == 9
    assert max(len(ids) for ids in draw(0)) == 50


def test_shares_are_as_even_as_the_groups_allow() -> None:
    assert _even_shares({"guidelines": 2, "papers": 90, "abstracts": 90}, 12, "train") == {
        "guidelines": 2,
        "papers": 5,
        "abstracts": 5,
    }


def test_too_few_documents(corpus: Manifest, tokenizer: PreTrainedTokenizerBase) -> None:
    expected = r"calibration_documents: 99 documents wanted, but the corpus has 36 \(train: guidelines 12"
    with pytest.raises(InputError, match=expected):
        draw_samples(SETTINGS, corpus, "train", 99, tokenizer)


def test_unknown_group(corpus: Manifest, tokenizer: PreTrainedTokenizerBase) -> None:
    settings = SETTINGS.model_copy(update={"groups": ("guidelines", "poems")})
    with pytest.raises(SettingsError, match=r"poems is not in the train split.*abstracts, guidelines, papers"):
        draw_samples(settings, corpus, "train", 3, tokenizer)
