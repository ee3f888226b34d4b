"""The conversation in the terminal."""

from __future__ import annotations

import signal
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from components.platform.chat import render
from components.platform.errors import InputError
from components.serving.terminal.model import ChatModel, Sampling


def converse(model: ChatModel, sampling: Sampling) -> None:
    """Questions from the terminal, answers to it, until the input ends or the user says /exit; /new forgets all.

    Ctrl-C ends an answer; what was said of it stays in the conversation.
    """
    print("Ask a question; Ctrl-C stops an answer, /new starts afresh, /exit ends.")
    messages: list[dict[str, str]] = []
    while (question := _read_question()) is not None:
        if question == "/new":
            messages = []
        elif question:
            asked = [*messages, {"role": "question", "content": question}]
            try:
                with _stopped_by_interrupt() as stopped:
                    answer = ask(model, asked, sampling, stopped)
            except InputError as error:
                print(f"error: {error}")
                continue
            except KeyboardInterrupt:
                answer = ""
            if answer:
                messages = [*asked, {"role": "answer", "content": answer}]
            else:
                print("(no answer; the question is forgotten)")


def ask(
    model: ChatModel, messages: list[dict[str, str]], sampling: Sampling, stopped: Callable[[], bool] = lambda: False
) -> str:
    """Stream the answer to the last message to the terminal, and return it."""
    from transformers import TextStreamer

    class PlainTextStreamer(TextStreamer):
        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            super().on_finalized_text(printable(text), stream_end)

    render(messages)  # refuses messages that contain ChatML's own tokens
    streamer = PlainTextStreamer(model.tokenizer, skip_prompt=True, skip_special_tokens=True)
    return model.answer(messages, sampling, streamer, stopped)


def printable(text: str) -> str:
    """Text without control characters: a terminal takes them for commands, such as to fill the clipboard."""
    return "".join(letter for letter in text if letter in "\n\t" or unicodedata.category(letter) not in ("Cc", "Cf"))


@contextmanager
def _stopped_by_interrupt() -> Iterator[Callable[[], bool]]:
    """Inside, the first Ctrl-C only makes the function that is yielded say so; a second one interrupts as usual."""
    interrupted = threading.Event()

    def note(*_: object) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _read_question() -> str | None:
    """The next line, or None when there is no more."""
    try:
        question = input("> ").strip()
    except (EOFError, KeyboardInterrupt):
        print()
        return None
    return None if question == "/exit" else question
