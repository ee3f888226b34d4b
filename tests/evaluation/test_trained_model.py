"""A model that knows the answers is found to know them, in every mode; one that does not is found not to."""

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from components.evaluation import stage
from components.evaluation.engine.huggingface import HuggingFaceEngine
from components.evaluation.rounds import plan
from components.evaluation.settings import EvaluationSettings
from components.platform.context import PlatformSettings, TrackingSettings
from components.platform.manifest import Manifest
from components.platform.questions.benchmark import load_benchmark
from components.platform.questions.prompt import REASONING
from tests.evaluation.conftest import make_tokenizer

QUESTIONS, STEPS = 8, 80
CHANCE = 1 / 4
SETTINGS = EvaluationSettings(
    benchmarks=["medqa-4-option"],
    modes=["top_token", "cot", "sc_cot", "few_shot"],
    max_items=QUESTIONS,
    max_new_tokens=24,
    few_shot={"shots": 1, "seeds": [0]},
)


@pytest.fixture(scope="module")
def platform(data, tmp_path_factory):
    tracking = TrackingSettings(uri="sqlite:///unused.db")
    return PlatformSettings(data=str(data), workspace=str(tmp_path_factory.mktemp("runs")), tracking=tracking)


@pytest.fixture(scope="module")
def knowing(platform, tmp_path_factory):
    """A tiny Llama that has learned the answers to these very questions by heart, put in each of the ways."""
    folder = tmp_path_factory.mktemp("knowing") / "model"
    config = LlamaConfig(
        vocab_size=500,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    text = (
        f"{load_benchmark('medqa-4-option').instruction} {REASONING} Therefore, the answer is Question Options Answer"
    )
    make_tokenizer(vocab_size=500, text=f"{text} {' '.join(map(str, range(30)))}").save_pretrained(folder)
    model.save_pretrained(folder)
    engine = HuggingFaceEngine(folder)
    lessons = {lesson for round_ in plan(SETTINGS, platform, engine) for lesson in lessons_of(round_, engine)}
    tokens, targets = padded(sorted(lessons))
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * min(1, (step + 1) / 10, (STEPS - step) / 30)
        logits = model(tokens).logits
        loss = cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten(), ignore_index=-100)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    return Manifest.of_folder("sft", folder.parent)


def lessons_of(round_, engine):
    """Prompt and answer of each item; where thinking is asked for, other options come up first."""
    for item in round_.items:
        label = item.question.answer
        if round_.mode in ("top_token", "few_shot"):
            yield item.tokens, (item.answers.choices[label],)
        else:
            others = [other for other in "ABCD" if other != label]
            answer = f"({others[0]}) is wrong. Therefore, the answer is {label}.<|im_end|>"
            yield item.tokens, tuple(engine.encode(answer))


def padded(lessons):
    width = max(len(prompt) + len(answer) for prompt, answer in lessons)
    tokens, targets = [], []
    for prompt, answer in lessons:
        rest = width - len(prompt) - len(answer)
        tokens.append([*prompt, *answer, *[0] * rest])
        targets.append([*[-100] * len(prompt), *answer, *[-100] * rest])
    return torch.tensor(tokens), torch.tensor(targets)


def test_knowledge_shows_in_every_mode(knowing, platform):
    evaluation = stage.run(SETTINGS, platform, model=knowing, label="knowing")
    rows = evaluation.read_json("results.json")
    assert [row["mode"] for row in rows] == ["top_token", "cot", "sc_cot", "few_shot"]
    for row in rows:
        assert row["ci_low"] > CHANCE, row["mode"]
        assert row["unparsed_rate"] < 0.1
    for item in evaluation.read_jsonl("items.jsonl"):
        if item["mode"] == "cot" and item["correct"]:
            assert item["replies"][0].endswith(f"Therefore, the answer is {item['answer']}.")


def test_ignorance_shows_too(knowing, model, platform):
    """The untrained model is no better than chance, and McNemar's test tells it from the trained one."""
    trained = stage.run(SETTINGS, platform, model=knowing, label="knowing")
    ignorant = stage.run(SETTINGS, platform, model=model, label="ignorant", baseline=trained)
    for row in ignorant.read_json("results.json"):
        assert row["ci_low"] < CHANCE, row["mode"]
        assert row["versus"]["p_value"] < 0.05
