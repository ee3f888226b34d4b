"""Text to measure with: new documents made of the sentences and paragraphs of real ones.

Of the real files there are a few megabytes; repeating them whole would measure deduplication and nothing else. So
each document is drawn anew, with replacement, from the passages of one kind of text. Digits are drawn anew too, and
one long word in twenty is put together from halves of two others: otherwise the same few words would come again and
again, and every tokenizer would find them in its cache more often than in real text of this size.
"""

from __future__ import annotations

import gzip
import json
import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lxml import etree

EVERY_NTH_IS_A_COPY = 20  # exact copies and near copies in turn: 2.5% of the documents each
CHANGED_WORDS = 0.01  # of a near copy; of its five-word shingles 90% are then those of the original
BLENDED_WORDS = 0.05  # of long words
SENTENCE_END = re.compile(r"(?<=[.?!]) (?=[A-Z])")
DIGIT_OR_LONG_WORD = re.compile(r"[0-9]|\b[a-z]{8,}\b")


@dataclass(frozen=True)
class Kind:
    """A kind of text: its share of the bytes, and the lengths of its documents (log-normal), in characters."""

    share: float
    median: int
    sigma: float
    joined_by: str


# Shares near those of GAP-Replay (Meditron, Table 1), lengths from its tokens per document; there is more replay,
# because most of it is Spanish and gives a language filter something to do.
KINDS = {
    "papers": Kind(0.84, 28_000, 0.5, "\n\n"),
    "abstracts": Kind(0.12, 1_400, 0.4, " "),
    "guidelines": Kind(0.02, 30_000, 0.6, "\n"),
    "replay": Kind(0.02, 3_000, 0.7, "\n"),
}
Passages = dict[str, list[str]]


@dataclass
class TextFile:
    """One JSONL file that was made: its documents, and the size of their texts in UTF-8 bytes."""

    path: Path
    documents: int = 0
    bytes: int = 0
    exact_copies: int = 0
    near_copies: int = 0
    kinds: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))


def passages(data: Path) -> Passages:
    """Passages of each kind from the source files below `data`: paragraphs of papers, sentences of abstracts, lines
    of guidelines and of replay."""
    papers, abstracts = [], []
    for path in [*sorted(data.glob("plos_jats/*.xml")), *sorted(data.glob("pmc_nxml/*.nxml"))]:
        article = etree.parse(path)
        papers += [text for node in article.iterfind(".//{*}body//{*}p") if len(text := _text(node)) > 200]
        abstracts += [_text(node) for node in article.iterfind(".//{*}abstract//{*}p")]
    for path in sorted(data.glob("s2orc/abstracts-sample.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            abstracts += [" ".join(json.loads(line)["abstract"].split()) for line in lines]
    sentences = [sentence for text in [*abstracts, *papers] for sentence in SENTENCE_END.split(text)]
    return {
        "papers": papers,
        "abstracts": sentences,
        "guidelines": list(_lines(data, "guidelines/guidelines.jsonl")),
        "replay": list(_lines(data, "redpajama/*.jsonl")),
    }


def make(folder: Path, passages: Passages, megabytes: float, files: int = 4, seed: int = 0) -> list[TextFile]:
    """Write `files` files of JSONL in RedPajama's layout (`text`, `meta`) of about the same size, together
    `megabytes` (10^6 bytes of text); the same arguments give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    blend = _Blend(passages, rng)
    made = []
    for number in range(files):
        made.append(TextFile(folder / f"text-{number}.jsonl"))
        originals: list[tuple[str, str]] = []
        with made[-1].path.open("w", encoding="utf-8") as out:
            while made[-1].bytes < megabytes * 1e6 / files:
                kind, text, copy = _next(made[-1], originals, passages, blend, rng)
                out.write(json.dumps({"text": text, "meta": {"kind": kind, "copy": copy}}, ensure_ascii=False) + "\n")
    return made


def _next(
    file: TextFile, originals: list[tuple[str, str]], passages: Passages, blend: _Blend, rng: random.Random
) -> tuple[str, str, str]:
    """Kind and text of the next document, and whether it is an "exact" or "near" copy (else ""); counts it."""
    file.documents += 1
    copy = ""
    if file.documents % EVERY_NTH_IS_A_COPY == 0:
        kind, text = rng.choice(originals)
        copy = "near" if file.documents % (2 * EVERY_NTH_IS_A_COPY) == 0 else "exact"
        file.exact_copies += copy == "exact"
        file.near_copies += copy == "near"
        text = _near_copy(text, rng) if copy == "near" else text
    else:
        # The kind of which most is missing for its share
        kind = max(KINDS, key=lambda name: KINDS[name].share * file.bytes - file.kinds[name])
        text = blend(_drawn(KINDS[kind], passages[kind], rng))
        originals.append((kind, text))
    size = len(text.encode())
    file.bytes += size
    file.kinds[kind] += size
    return kind, text, copy


def _drawn(kind: Kind, pool: list[str], rng: random.Random) -> str:
    wanted = rng.lognormvariate(math.log(kind.median), kind.sigma)
    parts: list[str] = []
    while wanted > 0:
        parts.append(rng.choice(pool))
        wanted -= len(parts[-1])
    return kind.joined_by.join(parts)


def _near_copy(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    for i in rng.sample(range(len(words)), max(1, round(CHANGED_WORDS * len(words)))):
        words[i] = rng.choice(words)
    return " ".join(words)


class _Blend:
    """Draws digits anew, and makes some long words of halves of two others."""

    def __init__(self, passages: Passages, rng: random.Random) -> None:
        found = (match for pool in passages.values() for text in pool for match in DIGIT_OR_LONG_WORD.findall(text))
        self._words = sorted({word for word in found if len(word) > 1})
        self._rng = rng

    def __call__(self, text: str) -> str:
        return DIGIT_OR_LONG_WORD.sub(self._replaced, text)

    def _replaced(self, match: re.Match[str]) -> str:
        word = match[0]
        if len(word) == 1:
            return str(int(self._rng.random() * 10))
        if self._rng.random() > BLENDED_WORDS:
            return word
        other = self._rng.choice(self._words)
        return word[: len(word) // 2] + other[len(other) // 2 :]


def _text(node: etree._Element) -> str:
    return " ".join("".join(node.itertext()).split())


def _lines(data: Path, pattern: str) -> Iterator[str]:
    for path in sorted(data.glob(pattern)):
        with path.open(encoding="utf-8") as rows:
            for row in rows:
                yield from (line for line in json.loads(row)["text"].splitlines() if len(line) > 40)
