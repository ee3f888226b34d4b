"""Chatting in the terminal with a tiny model."""

from __future__ import annotations

import io
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from components.platform.advisory import ADVISORY
from components.platform.errors import InputError
from components.serving.terminal.command import main
from components.serving.terminal.conversation import converse
from components.serving.terminal.model import ChatModel, Sampling
from tests.quantization.tiny_llama import as_artifact, tiny_llama

SAMPLING = Sampling(max_new_tokens=8, temperature=0, top_p=1)
QUESTION = [{"role": "question", "content": "What purrs?"}]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("subfolder", ["", "model"])
def test_one_prompt(cat: Path, capsys: pytest.CaptureFixture[str], subfolder: str) -> None:
    main(["--model", str(cat / subfolder), "--prompt", "What purrs?"])
    output = capsys.readouterr()
    assert output.out == "cat\n"
    assert ADVISORY in output.err


def test_answer_is_streamed_as_it_comes(cat: Path) -> None:
    model = ChatModel.load(cat)
    parts: list[torch.Tensor] = []

    class Recorder:
        def put(self, tokens: torch.Tensor) -> None:
            parts.append(tokens)

        def end(self) -> None:
            pass

    assert model.answer(QUESTION, SAMPLING, Recorder()) == "cat"
    assert len(parts) > 3  # the prompt, then token by token


Answer = Callable[..., str]


def listen(model: ChatModel, monkeypatch: pytest.MonkeyPatch, answer: Answer) -> list[list[str]]:
    """Have `answer` answer in the model's place; return what it is asked."""
    conversations: list[list[str]] = []
    monkeypatch.setattr(
        model,
        "answer",
        lambda messages, *rest: conversations.append([m["content"] for m in messages]) or answer(messages, *rest),
    )
    return conversations


def test_conversation_remembers_until_told_not_to(
    cat: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ChatModel.load(cat)
    conversations = listen(model, monkeypatch, model.answer)
    monkeypatch.setattr("sys.stdin", io.StringIO("one?\n\ntwo?\n/new\nthree <|im_end|>\nthree?\n"))
    converse(model, SAMPLING)
    assert conversations == [["one?"], ["one?", "cat", "two?"], ["three?"]]
    output = capsys.readouterr().out
    assert output.count("cat\n") == 3
    assert "contains <|im_end|>" in output


@pytest.mark.parametrize("interrupts", [1, 2])
def test_interrupt_ends_the_answer_not_the_conversation(
    models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, interrupts: int
) -> None:
    """One Ctrl-C keeps what was said. Two in a row, for a model that is stuck, forget the question."""
    model = ChatModel.load(models / "endless")
    answer_fully = model.answer

    def answer(messages, sampling, streamer, stopped) -> str:
        asked = 0

        def stopped_after_four_tokens() -> bool:
            nonlocal asked
            asked += 1
            if asked == 4 and len(conversations) == 1:
                for _ in range(interrupts):
                    signal.raise_signal(signal.SIGINT)
            return stopped()

        return answer_fully(messages, sampling, streamer, stopped_after_four_tokens)

    conversations = listen(model, monkeypatch, answer)
    monkeypatch.setattr("sys.stdin", io.StringIO("one?\ntwo?\n"))
    handler = signal.getsignal(signal.SIGINT)
    converse(model, Sampling(max_new_tokens=20, temperature=0, top_p=1))
    assert signal.getsignal(signal.SIGINT) is handler
    partial = "<u> aspirin"
    assert conversations[1] == (["one?", partial, "two?"] if interrupts == 1 else ["two?"])
    output = capsys.readouterr().out
    assert (f"{partial}\n" in output) == (interrupts == 1)
    assert ("question is forgotten" in output) == (interrupts == 2)
    assert "aspirin fever patient dose" in output  # the second answer, whole


def test_sampling(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    as_artifact(tiny_llama(), tmp_path)

    def say(*options: str) -> str:
        main(["--model", str(tmp_path), "--prompt", "x", "--max-new-tokens", "48", *options])
        return capsys.readouterr().out

    likeliest = say()
    assert likeliest == say("--seed", "1")
    drawn = say("--temperature", "1", "--seed", "1")
    assert drawn == say("--temperature", "1", "--seed", "1")
    assert drawn not in (say("--temperature", "1", "--seed", "2"), likeliest)
    assert say("--temperature", "1", "--top-p", "1e-6", "--seed", "1") == likeliest


@pytest.mark.slow
def test_compressed_model(compressed_cat: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--model", str(compressed_cat), "--prompt", "What purrs?"])
    assert capsys.readouterr().out == "cat\n"


def test_full_context(cat: Path) -> None:
    with pytest.raises(InputError, match="the model's context 256; start a new one"):
        ChatModel.load(cat).answer([{"role": "question", "content": "x " * 300}], SAMPLING)


@pytest.mark.parametrize(
    "option", [("--temperature", "-1"), ("--temperature", "nan"), ("--max-new-tokens", "0"), ("--top-p", "0")]
)
def test_impossible_options(option: tuple[str, str]) -> None:
    with pytest.raises(SystemExit):
        main(["--model", "x", *option])
