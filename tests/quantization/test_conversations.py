"""Which questions calibrate, and that what is scored never does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from transformers import PreTrainedTokenizerBase

from components.platform.context import PlatformSettings
from components.platform.errors import InputError
from components.quantization.conversations import draw_conversations, source_files
from components.quantization.settings import QuantizationSettings

SETTINGS = QuantizationSettings(benchmarks=("pubmedqa",), calibration_conversations=8, sequence_length=200)


def drawn(tokenizer: PreTrainedTokenizerBase, platform: PlatformSettings, **changes: object) -> list[str]:
    settings = SETTINGS.model_copy(update=changes)
    return [tokenizer.decode(ids) for ids in draw_conversations(settings, platform, tokenizer)]


def test_whole_conversations_of_the_training_split(
    tokenizer: PreTrainedTokenizerBase, platform: PlatformSettings
) -> None:
    texts = drawn(tokenizer, platform)
    records = json.loads((Path(platform.data) / "eval" / "pubmedqa" / "ori_pqal.json").read_text())
    asked = {text.split("Question: ")[1].split("<|im_end|>")[0]: text for text in texts}
    assert set(asked) == {records[str(number)]["QUESTION"] for number in range(1, 9)}  # 9 to 12 are scored
    for record in list(records.values())[:8]:
        text = asked[record["QUESTION"]]
        assert text.startswith("<|im_start|>system\nYou are an expert physician")
        assert text.endswith(f"<|im_start|>answer\n{record['final_decision']}<|im_end|>\n")
        assert "\n".join(record["CONTEXTS"]) in text


def test_same_questions_every_time_and_others_with_another_seed(
    tokenizer: PreTrainedTokenizerBase, platform: PlatformSettings
) -> None:
    few = [drawn(tokenizer, platform, calibration_conversations=3, seed=seed) for seed in (0, 0, 1)]
    assert len(few[0]) == 3
    assert few[0] == few[1] != few[2]


def test_a_long_context_is_shortened_and_the_answer_stays(
    tokenizer: PreTrainedTokenizerBase, platform: PlatformSettings
) -> None:
    limited = SETTINGS.model_copy(update={"sequence_length": 115})
    conversations = draw_conversations(limited, platform, tokenizer)
    assert max(map(len, conversations)) <= 115
    for ids in conversations:
        text = tokenizer.decode(ids)
        assert "Context: We gave" in text
        assert "recovered" not in text
        assert text.endswith(("yes<|im_end|>\n", "no<|im_end|>\n", "maybe<|im_end|>\n"))


def test_too_few_questions(tokenizer: PreTrainedTokenizerBase, platform: PlatformSettings) -> None:
    with pytest.raises(InputError, match=r"calibration_conversations: 9 wanted, .* only 8 train questions"):
        drawn(tokenizer, platform, calibration_conversations=9)
    with pytest.raises(InputError, match=r"8 wanted of pubmedqa, but only 0 of its 8 questions fit .*length 60"):
        drawn(tokenizer, platform, sequence_length=60)


def test_none_wanted_none_read(tokenizer: PreTrainedTokenizerBase, platform: PlatformSettings) -> None:
    settings = SETTINGS.model_copy(update={"calibration_conversations": 0})
    nowhere = platform.model_copy(update={"data": "nowhere"})
    assert draw_conversations(settings, nowhere, tokenizer) == []
    assert source_files(settings, nowhere) == []
    assert settings.source_patterns() == []


def test_source_files_are_those_that_the_recipe_asks_for(platform: PlatformSettings) -> None:
    names = [file.name for file in source_files(SETTINGS, platform)]
    assert (
        names
        == sorted(SETTINGS.source_patterns())
        == [
            "eval/pubmedqa/ori_pqal.json",
            "eval/pubmedqa/test_ground_truth.json",
        ]
    )


def test_a_benchmark_without_questions_for_training_is_refused() -> None:
    with pytest.raises(ValidationError, match="mmlu-medical has no train split apart from what it is scored on"):
        QuantizationSettings(benchmarks=("mmlu-medical",))
    with pytest.raises(ValidationError, match="no benchmarks are named"):
        QuantizationSettings(benchmarks=())
