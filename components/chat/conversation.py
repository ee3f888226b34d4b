"""The conversation in the terminal."""

from __future__ import annotations

from components.chat.model import ChatModel, Sampling
from components.platform.chat import render
from components.platform.errors import InputError


def converse(model: ChatModel, sampling: Sampling) -> None:
    """Questions from the terminal, answers to it, until the input ends or the user says /exit; /new forgets all."""
    print("Ask a question; /new starts afresh, /exit ends.")
    messages: list[dict[str, str]] = []
    while (question := _read_question()) is not None:
        if question == "/new":
            messages = []
        elif question:
            try:
                answer = ask(model, [*messages, {"role": "question", "content": question}], sampling)
            except InputError as error:
                print(f"error: {error}")
                continue
            messages += [{"role": "question", "content": question}, {"role": "answer", "content": answer}]


def ask(model: ChatModel, messages: list[dict[str, str]], sampling: Sampling) -> str:
    """Stream the answer to the last message to the terminal, and return it."""
    from transformers import TextStreamer

    render(messages)  # refuses messages that contain ChatML's own tokens
    streamer = TextStreamer(model.tokenizer, skip_prompt=True, skip_special_tokens=True)
    return model.answer(messages, sampling, streamer)


def _read_question() -> str | None:
    """The next line, or None when there is no more."""
    try:
        question = input("> ").strip()
    except (EOFError, KeyboardInterrupt):
        print()
        return None
    return None if question == "/exit" else question
