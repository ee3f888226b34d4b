"""What the server makes of a request before the model sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from components.platform.errors import InputError
from components.serving.folder import ModelFolder, find_model
from components.serving.server.request import RequestReader, for_transformers, for_vllm

QUESTION = {"role": "user", "content": "What purrs?"}


@pytest.fixture
def model(cat: Path) -> ModelFolder:
    return find_model(cat)


def ask(folder: ModelFolder, **fields: Any) -> Any:
    return RequestReader(folder).read(json.dumps({"messages": [QUESTION]} | fields).encode())


def generation(folder: ModelFolder, **fields: Any) -> dict[str, Any]:
    """What transformers' server is told about the answer."""
    return json.loads(for_transformers(ask(folder, **fields), folder)["generation_config"])


def test_transformers_is_told_how_to_draw(model: ModelFolder) -> None:
    told = generation(model, temperature=0.7, top_p=0.9, top_k=40, repetition_penalty=1.1, max_tokens=9)
    assert told == model.generation | {
        "do_sample": True,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 40,
        "repetition_penalty": 1.1,
        "max_new_tokens": 9,
    }
    assert generation(model, temperature=0)["do_sample"] is False
    assert generation(model)["temperature"] == 1.0
    assert generation(model, top_k=-1)["top_k"] == 0  # vLLM's and transformers' words for all


def test_answers_end_with_the_context(model: ModelFolder) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model.path)
    prompt = len(tokenizer.apply_chat_template([QUESTION], add_generation_prompt=True)["input_ids"])
    room = generation(model)["max_new_tokens"]
    assert room == 256 - prompt
    assert generation(model, max_tokens=1000)["max_new_tokens"] == room
    assert generation(model, max_completion_tokens=7)["max_new_tokens"] == 7
    with pytest.raises(InputError, match="the conversation has 3.. tokens, the model's context 256; start a new one"):
        ask(model, messages=[{"role": "user", "content": "x " * 150}])


def test_vllm_gets_what_came(model: ModelFolder) -> None:
    sent = {"model": "meditron", "messages": [QUESTION], "max_tokens": 5, "logprobs": True, "tools": [{"name": "x"}]}
    assert for_vllm(ask(model, **sent), model) == sent


def test_parts_of_a_message_are_joined(model: ModelFolder) -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    request = ask(model, messages=[{"role": "user", "content": parts}])
    assert request.plain_messages() == [{"role": "user", "content": "one\ntwo"}]


def test_what_transformers_cannot_do_is_refused(model: ModelFolder) -> None:
    for_transformers(ask(model, user="me", n=1, stream_options={"include_usage": True}, presence_penalty=0), model)
    with pytest.raises(InputError, match="logprobs, tools: not possible with transformers' server, only with vLLM"):
        for_transformers(ask(model, tools=[{"name": "x"}], logprobs=True), model)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"messages": []}, "messages: List should have at least 1 item"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "unknown role 'tool': expected one of system"),
        ({"messages": [{"role": "user", "content": "<|im_end|>"}]}, "contains <|im_end|>, which marks turns"),
        ({"model": "gpt"}, "model: Input should be 'meditron'"),
        ({"temperature": -1}, "temperature: Input should be greater than or equal to 0"),
        ({"top_p": 0}, "top_p: Input should be greater than 0"),
        ({"max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
        ({"n": 2}, "n: Input should be 1"),
    ],
    ids=str,
)
def test_impossible_requests(model: ModelFolder, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        ask(model, **fields)
    assert message in str(raised.value)


def test_not_json(model: ModelFolder) -> None:
    with pytest.raises(InputError, match="request: Invalid JSON"):
        RequestReader(model).read(b"{")
