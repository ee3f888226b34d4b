"""Which documents calibrate and which validate."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerBase

from components.platform.errors import InputError, SettingsError
from components.platform.manifest import Manifest
from components.quantization.documents import draw_documents
from components.quantization.settings import QuantizationSettings
from components.quantization.shares import even_shares

SETTINGS = QuantizationSettings(sequence_length=40)


def test_same_documents_every_time_and_others_with_another_seed(
    corpus: Manifest, tokenizer: PreTrainedTokenizerBase
) -> None:
    def draw(seed: int) -> list[list[int]]:
        settings = SETTINGS.model_copy(update={"seed": seed})
        return [ids.tolist() for ids in draw_documents(settings, corpus, "train", 9, tokenizer)]

    assert draw(0) == draw(0) != draw(1)
    assert len(draw(0)) == 9
    assert max(len(ids) for ids in draw(0)) == 40


def test_shares_are_as_even_as_the_groups_allow() -> None:
    available = {"guidelines": 2, "papers": 90, "abstracts": 90}
    shares = even_shares(available, 12, "calibration_documents", "documents")
    assert shares == {"guidelines": 2, "papers": 5, "abstracts": 5}


def test_too_few_documents(corpus: Manifest, tokenizer: PreTrainedTokenizerBase) -> None:
    expected = r"calibration_documents: 99 wanted, but there are only 36 train documents \(guidelines 12, papers 12"
    with pytest.raises(InputError, match=expected):
        draw_documents(SETTINGS, corpus, "train", 99, tokenizer)


def test_unknown_group(corpus: Manifest, tokenizer: PreTrainedTokenizerBase) -> None:
    settings = SETTINGS.model_copy(update={"groups": ("guidelines", "poems")})
    with pytest.raises(SettingsError, match=r"poems is not in the train split.*abstracts, guidelines, papers"):
        draw_documents(settings, corpus, "train", 3, tokenizer)
