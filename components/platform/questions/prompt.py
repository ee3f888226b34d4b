"""From a question to what a model is shown, in the two styles that Meditron has used.

`paper`: the instruction is the system message, options read `(A) ...`, the answer `(C) Cystic hygroma`.
`code`: (the published evaluation code) the instruction opens the question, options read `A. ...`, the answer
is the letter alone. PubMedQA's answer is its word in both.

A fine-tuned model gets chat messages; a base model, which knows no chat, gets one plain text of examples to go on with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from components.platform.chat import Message
from components.platform.questions.benchmark import Benchmark
from components.platform.questions.question import Question

PromptStyle = Literal["paper", "code"]

# Zero-shot chain of thought (Kojima et al., 2022). What follows the famous words is for instructions that ask for
# nothing but an option.
REASONING = "Let's think step by step, and only then say which answer is right."

ANSWER_CUE = "Answer:"


def messages(question: Question, benchmark: Benchmark, style: PromptStyle, reasoning: bool = False) -> list[Message]:
    """The conversation up to the point where the model is to answer; with `reasoning`, to think first."""
    body = question_text(question, benchmark, style)
    if reasoning:
        body = f"{body}\n\n{REASONING}"
    if style == "paper":
        return [{"role": "system", "content": benchmark.instruction}, {"role": "question", "content": body}]
    return [{"role": "question", "content": f"{benchmark.instruction}\n{body}"}]


def answered(question: Question, benchmark: Benchmark, style: PromptStyle) -> list[Message]:
    """The conversation with its right answer, as a model is trained on it."""
    answer = {"role": "answer", "content": answer_text(question, benchmark, style)}
    return [*messages(question, benchmark, style), answer]


def few_shot_text(
    question: Question, demonstrations: Sequence[Question], benchmark: Benchmark, style: PromptStyle
) -> str:
    """Instruction, answered demonstrations and the question as plain text, up to where its answer begins.

    What goes before the question is the same text for all questions.
    """
    answered = [
        f"{question_text(shown, benchmark, style)}\n\n{ANSWER_CUE} {answer_text(shown, benchmark, style)}"
        for shown in demonstrations
    ]
    asked = f"{question_text(question, benchmark, style)}\n\n{ANSWER_CUE}"
    return "\n\n".join([benchmark.instruction, *answered, asked])


def question_text(question: Question, benchmark: Benchmark, style: PromptStyle) -> str:
    """Context, question and options as one text."""
    parts = [f"Context: {question.context}"] if question.context else []
    parts.append(f"Question: {question.question}")
    if benchmark.answer == "option":
        mark = "({})" if style == "paper" else "{}."
        options = [f"{mark.format(label)} {text}" for label, text in question.options.items()]
        parts.append("\n".join(["Options:", *options]))
    return "\n\n".join(parts)


def answer_start(label: str, benchmark: Benchmark, style: PromptStyle) -> str:
    """How an answer that chooses `label` begins: the part that tells the options apart."""
    return f"({label})" if benchmark.answer == "option" and style == "paper" else label


def answer_text(question: Question, benchmark: Benchmark, style: PromptStyle) -> str:
    """The right answer in full, as a model is trained to give it."""
    start = answer_start(question.answer, benchmark, style)
    if benchmark.answer == "option" and style == "paper":
        return f"{start} {question.options[question.answer]}"
    return start
