"""What lm-eval is given of each question, such that it scores exactly the token that we score.

Our engine looks at one token: the first by which the answers differ, after their common opening, such as the
"A" of "(A)". lm-eval's `loglikelihood` takes two texts, a context and a continuation. It moves white space from
the end of the context to the beginning of the continuation, tokenizes context + continuation and the context, and
sums the log-probabilities of the tokens that the first has more. So

- the opening is part of the context, and a continuation is the beginning of an answer that makes one token: "A",
  not "A) aspirin", whose length would count too;
- where the context ends in text ("(", in the paper's style), lm-eval's sum is that one token's log-probability;
- where it ends in the newline of `<|im_start|>answer\\n` (letters alone; yes, no and maybe), the sum has one more
  addend, the newline's log-probability. It is the same for all options and changes no choice.

Whether a tokenizer really splits the texts like this is looked at for each question and each option.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from components.evaluation.engine.interface import Engine
from components.evaluation.items import Item
from components.platform.errors import InputError
from components.platform.questions.benchmark import Benchmark
from components.platform.questions.prompt import PromptStyle, answer_start


@dataclass(frozen=True)
class Document:
    """One line of a task's data.

    Attributes:
        id, subject: of the question.
        context: the prompt and the opening that all answers share.
        labels: of the options, in the order of `choices`.
        choices: what lm-eval is to score after the context.
        gold: index of the right option.
    """

    id: str
    subject: str
    context: str
    labels: tuple[str, ...]
    choices: tuple[str, ...]
    gold: int


def documents(items: Sequence[Item], benchmark: Benchmark, style: PromptStyle, engine: Engine) -> list[Document]:
    """One per item of the benchmark that fits the model, in the items' order.

    Raises:
        InputError: lm-eval would score other tokens than we do.
    """
    fitting = [item for item in items if item.tokens]
    if not fitting:
        return []
    opening, choices = wording(fitting[0], benchmark, style, engine)
    return [_document(item, opening, choices, engine) for item in fitting]


def wording(item: Item, benchmark: Benchmark, style: PromptStyle, engine: Engine) -> tuple[str, dict[str, str]]:
    """The answers' opening as text, and by label the text after it that makes the label's token.

    Raises:
        InputError: no text makes this token.
    """
    starts = {label: answer_start(label, benchmark, style) for label in benchmark.labels}
    opening = _shortest(item, starts[benchmark.labels[0]], item.tokens, engine)
    texts = {
        label: _shortest(item, start, (*item.tokens, item.answers.choices[label]), engine)
        for label, start in starts.items()
    }
    return opening, {label: text.removeprefix(opening) for label, text in texts.items()}


def _shortest(item: Item, answer: str, tokens: tuple[int, ...], engine: Engine) -> str:
    """The shortest beginning of `answer` that becomes `tokens` behind the item's prompt."""
    for end in range(len(answer) + 1):
        if tuple(engine.encode(item.prompt + answer[:end])) == tokens:
            return answer[:end]
    raise InputError(
        f"the tokenizer has no beginning of the answer {answer!r} that ends where its first telling token does; "
        "lm-eval can't be asked about that token alone"
    )


def _document(item: Item, opening: str, choices: dict[str, str], engine: Engine) -> Document:
    question, context = item.question, item.prompt + opening
    bare = tuple(engine.encode(context.rstrip()))  # how lm-eval tokenizes it
    split = item.tokens[: len(bare)] == bare and all(
        tuple(engine.encode(context + text)) == (*item.tokens, item.answers.choices[label])
        for label, text in choices.items()
    )
    if not split:
        raise InputError(
            f"question {question.id} of {question.benchmark}: the tokenizer joins the prompt's end with the answer; "
            "lm-eval would score other tokens than this project does"
        )
    return Document(
        id=question.id,
        subject=question.subject,
        context=context,
        labels=tuple(choices),
        choices=tuple(choices.values()),
        gold=list(choices).index(question.answer),
    )
