"""Chatting with a tiny model, plain and compressed."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from components.chat.__main__ import main
from components.chat.conversation import converse
from components.chat.model import ChatModel, Sampling
from components.platform.advisory import ADVISORY
from components.platform.errors import InputError
from tests.quantization.tiny_llama import as_artifact, tiny_llama

SAMPLING = Sampling(max_new_tokens=8, temperature=0)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that answers every question with the tokens "cat<|im_end|>"."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("sft")
    model = tiny_llama()
    as_artifact(model, folder)
    teach_one_answer(model, folder / "model")
    model.save_pretrained(folder / "model")
    return folder


def teach_one_answer(model: torch.nn.Module, folder: Path) -> None:
    """Make each token predict its successor in "\\ncat<|im_end|>": embeddings one-hot, layers silent, head a table."""
    chain = AutoTokenizer.from_pretrained(folder)("\ncat<|im_end|>")["input_ids"]
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.zero_()
        model.lm_head.weight.zero_()
        for position, (token, successor) in enumerate(pairwise(chain)):
            model.model.embed_tokens.weight[token, position] = 1
            model.lm_head.weight[successor, position] = 1


@pytest.mark.parametrize("subfolder", ["", "model"])
def test_one_prompt(artifact: Path, capsys: pytest.CaptureFixture[str], subfolder: str) -> None:
    main(["--model", str(artifact / subfolder), "--prompt", "What purrs?"])
    output = capsys.readouterr()
    assert output.out == "cat\n"
    assert ADVISORY in output.err


def test_answer_is_streamed_as_it_comes(artifact: Path) -> None:
    model = ChatModel.load(artifact)
    parts: list[torch.Tensor] = []

    class Recorder:
        def put(self, tokens: torch.Tensor) -> None:
            parts.append(tokens)

        def end(self) -> None:
            pass

    assert model.answer([{"role": "question", "content": "What purrs?"}], SAMPLING, Recorder()) == "cat"
    assert len(parts) > 3  # the prompt, then token by token


def test_conversation_remembers_until_told_not_to(
    artifact: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ChatModel.load(artifact)
    conversations: list[list[str]] = []
    answer = model.answer
    monkeypatch.setattr(
        model,
        "answer",
        lambda messages, *rest: conversations.append([m["content"] for m in messages]) or answer(messages, *rest),
    )
    monkeypatch.setattr("sys.stdin", io.StringIO("one?\n\ntwo?\n/new\nthree <|im_end|>\nthree?\n"))
    converse(model, SAMPLING)
    assert conversations == [["one?"], ["one?", "cat", "two?"], ["three?"]]
    output = capsys.readouterr().out
    assert output.count("cat\n") == 3
    assert "contains <|im_end|>" in output


def test_temperature_and_seed(artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    as_artifact(tiny_llama(), tmp_path)

    def say(*options: str) -> str:
        main(["--model", str(tmp_path), "--prompt", "x", "--max-new-tokens", "12", *options])
        return capsys.readouterr().out

    assert say() == say("--seed", "1")
    assert say("--temperature", "1", "--seed", "1") == say("--temperature", "1", "--seed", "1")
    assert say("--temperature", "1", "--seed", "1") != say("--temperature", "1", "--seed", "2")


@pytest.mark.slow
def test_compressed_model(artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from components.quantization.awq import load_model, quantize_by_rounding, save_compressed
    from components.quantization.stage import copy_companions

    model = load_model(artifact / "model")
    quantize_by_rounding(model, group_size=32)
    save_compressed(model, tmp_path / "model")
    copy_companions(artifact / "model", tmp_path / "model")
    main(["--model", str(tmp_path), "--prompt", "What purrs?"])
    assert capsys.readouterr().out == "cat\n"


def test_full_context(artifact: Path) -> None:
    with pytest.raises(InputError, match="the model's context 256; start a new one"):
        ChatModel.load(artifact).answer([{"role": "question", "content": "x " * 300}], SAMPLING)


def test_incomplete_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SystemExit, match=r"error: .*tokenizer\.json, \*\.safetensors missing"):
        main(["--model", str(tmp_path), "--prompt", "x"])


def test_tokenizer_without_chatml(artifact: Path, tmp_path: Path) -> None:
    as_artifact(tiny_llama(), tmp_path)
    (tmp_path / "model" / "chat_template.jinja").unlink()
    with pytest.raises(SystemExit, match="or a chat template; chat needs a fine-tuned model"):
        main(["--model", str(tmp_path), "--prompt", "x"])


@pytest.mark.parametrize("option", [("--temperature", "-1"), ("--max-new-tokens", "0")])
def test_impossible_options(option: tuple[str, str]) -> None:
    with pytest.raises(SystemExit):
        main(["--model", "x", *option])
