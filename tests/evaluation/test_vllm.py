"""A vLLM server answers what the Hugging Face engine answers, and what goes wrong with it is explained."""

import pytest
import torch

from components.evaluation import stage
from components.evaluation.engine import vllm
from components.evaluation.engine.vllm import VllmEngine
from components.evaluation.settings import EvaluationSettings
from components.platform.errors import InputError
from tests.evaluation.small_vllm import SmallVllm

PROMPTS = [[5, 6, 7, *range(20, 20 + extra)] for extra in (9, 1, 4)]


@pytest.fixture(scope="module")
def running(model_folder):
    server = SmallVllm(model_folder, "tiny")
    yield server
    server.close()


@pytest.fixture
def server(running, monkeypatch):
    running.requests.clear()
    for name, value in {"broken": 0, "without": None, "key": None, "max_model_len": 256}.items():
        monkeypatch.setattr(running, name, value)
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    return running


def test_next_tokens_are_those_of_the_other_engine(server, model_folder, engine):
    choices = [[1, 2, 3], [4, 300], [9]]
    ours = VllmEngine(model_folder, "tiny", server.url).next_tokens(PROMPTS, choices)
    for one, other in zip(ours, engine.next_tokens(PROMPTS, choices), strict=True):
        assert one.top == other.top
        assert one.choice_logprobs == pytest.approx(other.choice_logprobs, abs=1e-4)


def test_greedy_replies_are_those_of_the_other_engine(server, model_folder, engine, monkeypatch):
    served = VllmEngine(model_folder, "tiny", server.url)
    whole = engine.generate(PROMPTS, [[0]] * 3, 0, 10)
    assert served.generate(PROMPTS, [[0]] * 3, 0, 10) == whole
    tokens = engine._model.generate(torch.tensor(PROMPTS[:1]), max_new_tokens=4, do_sample=False)[0].tolist()
    for each in (served, engine):
        monkeypatch.setattr(each, "stop_tokens", frozenset(tokens[-1:]))
    cut = engine.generate(PROMPTS, [[0]] * 3, 0, 10)
    assert served.generate(PROMPTS, [[0]] * 3, 0, 10) == cut
    assert len(cut[0][0]) < len(whole[0][0])


def test_each_reply_is_drawn_with_its_seed_from_the_whole_distribution(server, model_folder):
    served = VllmEngine(model_folder, "tiny", server.url)
    seeds = [[2**62, 1], [2], []]
    replies = served.generate(PROMPTS, seeds, temperature=0.8, max_new_tokens=8)
    assert [len(own) for own in replies] == [2, 1, 0]
    assert served.generate(PROMPTS[:1], [[2**62]], 0.8, 8) == [replies[0][:1]]
    sent = sorted((tuple(body["prompt"]), body["seed"]) for body in server.requests[:3])
    assert sent == sorted((tuple(PROMPTS[row]), seed) for row, own in enumerate(seeds) for seed in own)
    for body in server.requests:
        assert body["model"] == "tiny"
        assert (body["temperature"], body["max_tokens"]) == (0.8, 8)
        assert (body["top_p"], body["top_k"], body["min_p"], body["repetition_penalty"]) == (1, 0, 0, 1)
        assert body["stop_token_ids"] == sorted(served.stop_tokens)


def test_the_whole_stage_by_a_server(server, model, platform):
    settings = EvaluationSettings(
        benchmarks=["pubmedqa"],
        modes=["top_token", "cot", "few_shot"],
        max_items=5,
        max_new_tokens=6,
        few_shot={"shots": 1, "seeds": [0]},
    )
    server.max_model_len = 1025  # the model's own limit, and one token to answer with
    here = stage.run(settings, platform, model=model, label="tiny").read_jsonl("items.jsonl")
    served = EvaluationSettings(**settings.model_dump() | {"engine": "vllm", "vllm": {"url": server.url}})
    there = stage.run(served, platform, model=model, label="tiny").read_jsonl("items.jsonl")
    assert len(server.requests) == len(there) == 15
    for a, b in zip(here, there, strict=True):
        assert {**a, "choice_logprobs": None} == {**b, "choice_logprobs": None}
        assert a["choice_logprobs"] == pytest.approx(b["choice_logprobs"], abs=1e-4)


def test_prompts_keep_to_the_servers_limit(server, model_folder):
    served = VllmEngine(model_folder, "tiny", server.url)
    assert served.max_length == 255
    assert served.next_tokens([[5] * 255], [[1]])
    with pytest.raises(InputError, match=r"/completions: status 400: .*maximum context length is 256 tokens"):
        served.next_tokens([[5] * 256], [[1]])


def test_passing_trouble_is_passed_over(server, model_folder, monkeypatch):
    served = VllmEngine(model_folder, "tiny", server.url)
    server.broken = 2
    assert served.next_tokens([[5]], [[1]])
    assert len(server.requests) == 3
    monkeypatch.setattr(vllm, "RETRIES", 1)
    served = VllmEngine(model_folder, "tiny", server.url)
    server.broken = 2
    with pytest.raises(InputError, match="status 503: .*starting"):
        served.next_tokens([[5]], [[1]])


def test_what_is_wrong_with_a_server(server, model_folder, monkeypatch):
    with pytest.raises(InputError, match="serves tiny, but not awq; start `vllm serve` .* --served-model-name awq"):
        VllmEngine(model_folder, "awq", server.url)
    server.without = "logprob_token_ids"
    with pytest.raises(InputError, match="no log-probability of token 1 in the answer; expected a vLLM that knows"):
        VllmEngine(model_folder, "tiny", server.url).next_tokens([[5]], [[1]])
    server.key = "secret"
    with pytest.raises(InputError, match="status 401"):
        VllmEngine(model_folder, "tiny", server.url)
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    assert VllmEngine(model_folder, "tiny", server.url)
    monkeypatch.setattr(vllm, "RETRIES", 0)
    with pytest.raises(InputError, match="127.0.0.1:9/v1: no answer .*; is the vLLM server running there"):
        VllmEngine(model_folder, "tiny", "http://127.0.0.1:9/v1")
