"""A multiple-choice question."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """One item of a benchmark.

    Attributes:
        id: unique within its benchmark and stable between runs.
        benchmark: name of the benchmark it belongs to.
        subject: the part of the benchmark, such as an MMLU subject.
        question: what is asked.
        context: text to read first, such as an abstract; empty where the benchmark has none.
        options: label → text in the order shown; for yes/no/maybe questions label and text are the same word.
        answer: label of the right option.
        pmid: PubMed id of the article that the question was made from; None where there is no such article.
    """

    id: str
    benchmark: str
    subject: str
    question: str
    context: str
    options: Mapping[str, str]
    answer: str
    pmid: str | None = None

    @property
    def stem(self) -> str:
        """SHA-256 (16 hex digits) of context and question: two benchmarks may ask the same with other options."""
        plain = "\0".join(" ".join(text.casefold().split()) for text in (self.context, self.question))
        return hashlib.sha256(plain.encode()).hexdigest()[:16]
