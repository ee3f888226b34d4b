"""Generated replies against transformers' own generation, and against themselves in other company."""

from collections import Counter

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM

from components.evaluation.engine.huggingface import HuggingFaceEngine
from tests.evaluation.conftest import make_tokenizer

PROMPTS = [[5, 6, 7, *range(20, 20 + extra)] for extra in (9, 1, 4, 4, 13)]
SHARED = 3
SEEDS = [[10, 11, 12], [20], [30, 31], [], [40, 41]]


def by_transformers(engine, prompt, new):
    """Greedy generation of one prompt by itself."""
    output = engine._model.generate(
        torch.tensor([prompt]), max_new_tokens=new, do_sample=False, eos_token_id=sorted(engine.stop_tokens)
    )
    return engine.reply(output[0, len(prompt) :].tolist())


@pytest.mark.parametrize("shared", [0, 1, SHARED])
def test_greedy_replies_are_those_of_transformers(engine, shared):
    replies = engine.generate(PROMPTS, [[0]] * 5, temperature=0, max_new_tokens=12, shared=shared)
    assert replies == [[by_transformers(engine, prompt, 12)] for prompt in PROMPTS]
    assert len({reply for [reply] in replies}) > 1


def test_a_reply_depends_on_its_seed_and_on_nothing_beside_it(engine):
    together = engine.generate(PROMPTS, SEEDS, temperature=0.8, max_new_tokens=10, shared=SHARED)
    assert [len(own) for own in together] == [3, 1, 2, 0, 2]
    assert len(set(together[0])) == 3
    for prompt, seeds, replies in zip(PROMPTS, SEEDS, together, strict=True):
        for seed, reply in zip(seeds, replies, strict=True):
            assert engine.generate([prompt], [[seed]], 0.8, 10) == [[reply]]
    assert engine.generate(PROMPTS[::-1], SEEDS[::-1], 0.8, 10, SHARED) == together[::-1]


def test_tokens_are_drawn_from_the_models_distribution(engine):
    n, temperature = 4000, 1.5
    [replies] = engine.generate([PROMPTS[0]], [list(range(n))], temperature, max_new_tokens=1)
    with torch.inference_mode():
        logits = engine._model(torch.tensor([PROMPTS[0]])).logits[0, -1]
    expected = Counter()
    for token, p in enumerate((logits / temperature).softmax(-1).tolist()):
        expected[engine.reply([token])] += p  # bytes that are no text by themselves look the same
    for text, p in expected.most_common(5):
        assert replies.count(text) / n == pytest.approx(p, abs=4 * (p * (1 - p) / n) ** 0.5)


def test_a_reply_ends_with_the_turn_and_leaves_the_batch(engine, monkeypatch):
    whole = engine.generate(PROMPTS, [[0]] * 5, 0, 12)
    [first] = whole[0]
    tokens = engine._model.generate(torch.tensor([PROMPTS[0]]), max_new_tokens=12, do_sample=False)[0].tolist()
    stop = tokens[len(PROMPTS[0]) + 4]
    monkeypatch.setattr(engine, "stop_tokens", frozenset({stop}))
    rows = []
    forward = engine._forward
    monkeypatch.setattr(engine, "_forward", lambda reading, new: rows.append(len(new)) or forward(reading, new))
    cut = engine.generate(PROMPTS, [[0]] * 5, 0, 12)
    assert cut[0][0] == by_transformers(engine, PROMPTS[0], 12)
    assert first.startswith(cut[0][0])
    assert len(cut[0][0]) < len(first)
    assert rows[0] == 5
    assert rows[-1] < 5


def test_replies_end_with_what_the_model_and_chat_end_with(engine, model_folder):
    ids = engine._tokenizer.get_vocab()
    assert engine.stop_tokens == {ids["</s>"], ids["<|im_end|>"], engine._model.generation_config.eos_token_id}
    assert engine.reply([*engine.encode("(B) yes"), ids["<|im_end|>"], 7, 8]) == "(B) yes"


def test_what_prompts_share_is_computed_once_and_changes_nothing(engine, monkeypatch):
    choices = [[1, 2, 3]] * 5
    alone = engine.next_tokens(PROMPTS, choices)
    sizes = []
    forward = engine._forward
    monkeypatch.setattr(engine, "_prefix", None)
    monkeypatch.setattr(engine, "_forward", lambda reading, new: sizes.append(new.shape) or forward(reading, new))
    for _ in range(2):
        together = engine.next_tokens(PROMPTS, choices, shared=SHARED)
        for one, other in zip(alone, together, strict=True):
            assert one.top == other.top
            assert one.choice_logprobs == pytest.approx(other.choice_logprobs, abs=1e-5)
    assert sizes == [(1, 3), (5, 13), (5, 13)]


@pytest.mark.parametrize("window", [8, 64])
def test_sliding_window_attention(tmp_path, window):
    torch.manual_seed(1)
    config = MistralConfig(
        vocab_size=400,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=window,
        initializer_range=0.5,
    )
    MistralForCausalLM(config).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    engine = HuggingFaceEngine(tmp_path)
    replies = engine.generate(PROMPTS, [[0]] * 5, 0, 10, shared=SHARED)
    assert replies == [[by_transformers(engine, prompt, 10)] for prompt in PROMPTS]
