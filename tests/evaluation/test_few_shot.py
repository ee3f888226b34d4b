"""Few-shot: which demonstrations are shown, how they look, and base models that know no chat."""

from dataclasses import replace

import pytest
import torch
from tokenizers.processors import TemplateProcessing

from components.evaluation import rounds, stage
from components.evaluation.demonstrations import choose_demonstrations
from components.evaluation.engine.huggingface import HuggingFaceEngine
from components.evaluation.items import prepare_few_shot
from components.evaluation.modes import top_token
from components.evaluation.settings import EvaluationSettings, FewShotSettings
from components.platform.errors import InputError
from components.platform.manifest import Manifest
from components.platform.questions.benchmark import load_benchmark
from components.platform.questions.readers import read_questions
from tests.evaluation.conftest import make_model, make_tokenizer

PUBMEDQA, MEDQA = load_benchmark("pubmedqa"), load_benchmark("medqa-4-option")
SETTINGS = EvaluationSettings(
    benchmarks=["pubmedqa"], modes=["few_shot"], max_items=8, few_shot={"shots": 2, "seeds": [0, 1]}
)


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory):
    """A base model: no chat template, no ChatML tokens, and texts that begin with <s>, as Llama's do."""
    folder = tmp_path_factory.mktemp("base") / "model"
    make_model().save_pretrained(folder)
    tokenizer = make_tokenizer(special_tokens=(), bos_token="<s>", chat_template=None)
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.convert_tokens_to_ids("<s>"))]
    )
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def base(base_folder):
    return HuggingFaceEngine(base_folder)


def test_demonstrations_are_one_set_per_seed_and_never_asked(platform):
    asked = read_questions(PUBMEDQA, "test", platform)
    candidates = read_questions(PUBMEDQA, "train", platform)
    sets = [choose_demonstrations(candidates, asked, 3, seed) for seed in range(5)]
    assert all(len({question.id for question in shown}) == 3 for shown in sets)
    assert len({tuple(question.id for question in shown) for shown in sets}) > 1
    assert choose_demonstrations(candidates[::-1], asked, 3, 0)[::-1] == sets[0]
    disguised = [replace(asked[0], id="t0", question=f" {asked[0].question.upper()} "), *candidates[:2]]
    assert choose_demonstrations(disguised, asked, 2, 0) == candidates[:2]
    with pytest.raises(InputError, match="pubmedqa: 3 demonstrations are wanted, but of 3 candidates only 2 are not"):
        choose_demonstrations(disguised, asked, 3, 0)


def test_what_a_base_model_reads(base, platform):
    asked = read_questions(PUBMEDQA, "test", platform)[:2]
    shown = read_questions(PUBMEDQA, "train", platform)[:1]
    first, second = prepare_few_shot(asked, shown, PUBMEDQA, "paper", base)
    assert first.prompt == (
        f"{PUBMEDQA.instruction}\n\n"
        f"Context: {shown[0].context}\n\nQuestion: {shown[0].question}\n\nAnswer: {shown[0].answer}\n\n"
        f"Context: {asked[0].context}\n\nQuestion: {asked[0].question}\n\nAnswer:"
    )
    assert first.tokens == (base.start[0], *base.encode(first.prompt), *first.answers.opening)
    assert base.decode(base.start) == "<s>"
    assert second.prompt.startswith(first.prompt[: first.prompt.rindex("Context:")])


@pytest.mark.parametrize("style", ["paper", "code"])
def test_options_are_told_apart_where_they_will_stand(base, platform, style):
    questions = read_questions(MEDQA, "test", platform)
    [item] = prepare_few_shot(questions[:1], questions[1:3], MEDQA, style, base)
    answer = " (C)" if style == "paper" else " C"
    whole = base.encode(item.prompt + answer)
    behind = len(item.tokens) - len(base.start)
    assert (*base.start, *whole[:behind]) == item.tokens
    assert whole[behind] == item.answers.choices["C"]


def test_answers_against_brute_force(base, platform):
    round_, _ = rounds.plan(SETTINGS, platform, base)
    assert len(round_.items) == 8
    replies = top_token.answer(round_.items, base, round_.shared)
    assert base.decode(round_.items[0].tokens[: round_.shared]).count("Answer:") == 2  # all of the demonstrations
    with torch.inference_mode():
        for item, reply in zip(round_.items, replies, strict=True):
            logprobs = base._model(torch.tensor([item.tokens])).logits[0, -1].double().log_softmax(-1)
            expected = {label: float(logprobs[token]) for label, token in item.answers.choices.items()}
            assert reply.choice_logprobs == pytest.approx(expected, abs=1e-4)


def test_a_base_model_can_only_be_asked_by_demonstrations(base_folder, platform):
    model = Manifest.of_folder("base", base_folder.parent)
    [row] = stage.run(SETTINGS, platform, model=model, label="base").read_json("results.json")
    assert set(row["accuracy_by_seed"]) == {"0", "1"}
    for mode in ("top_token", "cot", "sc_cot"):
        settings = SETTINGS.model_copy(update={"modes": (mode,)})
        with pytest.raises(InputError, match=r"no chat template and no <\|im_start\|> .* `modes: \[few_shot\]`"):
            stage.run(settings, platform, model=model, label="base")


def test_demonstrations_that_do_not_fit(base, platform, monkeypatch):
    monkeypatch.setattr(base, "max_length", 100)
    with pytest.raises(
        InputError, match="pubmedqa: 2 demonstrations leave no room for any question in the model's 100"
    ):
        rounds.plan(SETTINGS, platform, base)


def test_a_question_that_does_not_fit_behind_demonstrations_is_shortened(base, platform, monkeypatch):
    whole, _ = rounds.plan(SETTINGS, platform, base)
    longest = max(len(item.tokens) for item in whole.items)
    monkeypatch.setattr(base, "max_length", longest - 1)
    cut, _ = rounds.plan(SETTINGS, platform, base)
    shortened = [item for item in cut.items if item.shortened]
    assert 0 < len(shortened) < 8
    assert all(item.tokens[: cut.shared] == whole.items[0].tokens[: cut.shared] for item in shortened)


def test_nothing_is_loaded_where_a_question_cannot_be_asked(base_folder, platform, monkeypatch):
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", lambda *_, **__: pytest.fail("loaded"))
    model = Manifest.of_folder("base", base_folder.parent)
    settings = SETTINGS.model_copy(update={"benchmarks": ("mmlu-medical",)})
    with pytest.raises(InputError, match=r"_dev.csv: "):
        stage.run(settings, platform, model=model, label="base")
    settings = SETTINGS.model_copy(update={"few_shot": FewShotSettings(shots=50)})
    with pytest.raises(InputError, match="50 demonstrations are wanted"):
        stage.run(settings, platform, model=model, label="base")
