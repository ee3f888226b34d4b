"""Top-token against brute force: one prompt at a time, no padding, the full logits."""

import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from components.evaluation.engine.huggingface import HuggingFaceEngine
from components.evaluation.engine.interface import NextToken
from components.evaluation.items import answer_tokens, prepare
from components.evaluation.modes import top_token
from components.platform import chat
from components.platform.errors import InputError
from components.platform.questions.benchmark import load_benchmark
from components.platform.questions.prompt import answer_text, messages
from components.platform.questions.readers import read_questions
from components.training.data.sft import ConversationTokenizer

BENCHMARKS = ["pubmedqa", "medqa-4-option", "mmlu-medical"]


def items_of(name, style, engine, platform):
    benchmark = load_benchmark(name)
    return prepare(read_questions(benchmark, "test", platform)[:12], benchmark, style, engine)


@pytest.mark.parametrize("style", ["paper", "code"])
@pytest.mark.parametrize("name", BENCHMARKS)
def test_against_brute_force(name, style, engine, platform):
    items = items_of(name, style, engine, platform)
    assert len({len(item.tokens) for item in items}) > 1  # so there is padding
    replies = top_token.answer(items, engine)
    with torch.inference_mode():
        for item, reply in zip(items, replies, strict=True):
            logits = engine._model(torch.tensor([item.tokens])).logits[0, -1].double()
            logprobs = logits.log_softmax(-1)
            expected = {label: float(logprobs[token]) for label, token in item.answers.choices.items()}
            assert reply.choice_logprobs == pytest.approx(expected, abs=1e-4)
            assert reply.restricted_prediction == max(expected, key=expected.get)
            top = int(logits.argmax())
            assert reply.texts[0] == engine.decode([*item.answers.opening, top])
            if top in item.answers.choices.values():
                assert item.answers.choices[reply.prediction] == top


class ScriptedEngine:
    """Says what a test tells it to."""

    def __init__(self, engine, text):
        self.decode = engine.decode
        [self.top] = engine.encode(text)

    def next_tokens(self, prompts, choices, shared):
        return [NextToken(self.top, [-1.0, -3.0, -2.0]) for _ in prompts]


@pytest.mark.parametrize(
    ("text", "prediction"), [("yes", "yes"), ("no", "no"), ("Y", None), ("x", None), ("<|im_end|>", None)]
)
def test_only_an_option_is_an_answer(engine, platform, text, prediction):
    items = items_of("pubmedqa", "paper", engine, platform)[:1]
    [reply] = top_token.answer(items, ScriptedEngine(engine, text))
    assert (reply.texts[0], reply.prediction, reply.restricted_prediction) == (text, prediction, "yes")


def test_the_opening_of_all_answers_is_given(engine):
    answers = answer_tokens(load_benchmark("medqa-4-option"), "paper", engine)
    assert engine.decode(answers.opening) == "("
    assert {label: engine.decode([token]) for label, token in answers.choices.items()} == {c: c for c in "ABCD"}
    assert answer_tokens(load_benchmark("medqa-4-option"), "code", engine).opening == ()
    words = answer_tokens(load_benchmark("pubmedqa"), "paper", engine).choices
    assert all(label.startswith(engine.decode([token])) for label, token in words.items())


@pytest.mark.parametrize("style", ["paper", "code"])
@pytest.mark.parametrize("name", BENCHMARKS)
def test_prompts_are_what_fine_tuning_shows(name, style, engine, model_folder, platform):
    benchmark = load_benchmark(name)
    tokenizer = ConversationTokenizer(model_folder)
    questions = read_questions(benchmark, "test", platform)[:5]
    for question, item in zip(questions, prepare(questions, benchmark, style, engine), strict=True):
        turns = [
            *messages(question, benchmark, style),
            {"role": "answer", "content": answer_text(question, benchmark, style)},
        ]
        [(ids, _)] = tokenizer.encode([turns])
        expected = (*item.tokens, item.answers.choices[question.answer])
        assert tuple(ids[: len(expected)]) == expected


def test_long_prompts_lose_context_then_the_start_of_the_question(engine, platform, monkeypatch):
    benchmark = load_benchmark("pubmedqa")
    question = replace(
        read_questions(benchmark, "test", platform)[0], context="evidence " * 500, question="word " * 99 + "Last?"
    )
    bare = len(prepare([replace(question, context="")], benchmark, "paper", engine)[0].tokens)

    def prepared(limit):
        monkeypatch.setattr(engine, "max_length", limit)
        [item] = prepare([question], benchmark, "paper", engine)
        assert len(item.tokens) <= limit
        return item

    item = prepared(bare + 100)
    assert item.shortened
    assert "evidence evidence" in item.prompt
    assert item.question.question == question.question
    item = prepared(bare - 20)
    assert item.shortened
    assert item.question.context == ""
    assert item.question.question.endswith("word Last?")
    item = prepared(10)
    assert (item.tokens, item.shortened) == ((), True)
    monkeypatch.setattr(engine, "max_length", None)
    [item] = prepare([question], benchmark, "paper", engine)
    assert not item.shortened


class WordEngine:
    """A tokenizer of whole words, with the prompt's end joined to what follows or not."""

    max_length = None

    def __init__(self, vocabulary, prompt="answer\n"):
        backend = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
        self._tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
        self.render = lambda messages: prompt

    def encode(self, text):
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]


def test_a_tokenizer_that_joins_prompt_and_answer():
    with pytest.raises(InputError, match="joins the answer 'yes' with the prompt"):
        answer_tokens(load_benchmark("pubmedqa"), "paper", WordEngine({"?": 0, "answer\n": 1, "answer\nyes": 2}))


def test_a_tokenizer_that_cannot_tell_the_options_apart():
    with pytest.raises(InputError, match="first differing token must be another for each answer"):
        answer_tokens(load_benchmark("pubmedqa"), "paper", WordEngine({"?": 0}, prompt=""))


def test_a_model_without_chat_template_gets_ours(model_folder, tmp_path, engine):
    for path in model_folder.iterdir():
        if path.name != "chat_template.jinja":
            (tmp_path / path.name).symlink_to(path)
    bare = HuggingFaceEngine(tmp_path)
    turns = [{"role": "system", "content": "S"}, {"role": "question", "content": "Q"}]
    expected = chat.render(turns, add_generation_prompt=True)
    assert bare.render(turns) == engine.render(turns) == expected


def test_a_folder_without_model(tmp_path):
    with pytest.raises(InputError, match=r"config.json: missing; expected a Hugging Face model folder"):
        HuggingFaceEngine(tmp_path)


def test_a_model_with_weights_missing(model_folder, tmp_path):
    shutil.copytree(model_folder, tmp_path / "model")
    weights = load_file(tmp_path / "model/model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, tmp_path / "model/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"weights are missing: model.norm.weight"):
        HuggingFaceEngine(tmp_path / "model").next_tokens([[1]], [[2]])


@pytest.mark.slow
def test_a_quantized_model_runs_like_any_other(model_folder, tmp_path, platform):
    from components.quantization.awq import load_model, quantize_by_rounding, save_compressed

    original = load_model(model_folder)
    quantize_by_rounding(original, group_size=16)
    shutil.copytree(model_folder, tmp_path / "model")
    (tmp_path / "model/model.safetensors").unlink()
    save_compressed(original, tmp_path / "model")
    engine = HuggingFaceEngine(tmp_path / "model")
    items = items_of("medqa-4-option", "paper", engine, platform)
    replies = top_token.answer(items, engine)
    with torch.inference_mode():
        for item, reply in zip(items, replies, strict=True):
            logprobs = original(torch.tensor([item.tokens])).logits[0, -1].log_softmax(-1)
            expected = {label: float(logprobs[token]) for label, token in item.answers.choices.items()}
            assert reply.choice_logprobs == pytest.approx(expected, abs=1e-4)
