"""How fast our readers turn full text of the published formats into marked text."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from components.corpus.sources import jats, s2orc


@dataclass(frozen=True)
class Rate:
    """One reader on real records, over and over: megabytes read, megabytes of text made, CPU seconds."""

    reader: str
    records: int
    megabytes: float
    text_megabytes: float
    seconds: float


def rates(data: Path, megabytes: float) -> list[Rate]:
    """Parse the real records of each format until `megabytes` are read; a format without files is left out."""
    papers = [line for path in sorted(data.glob("s2orc/s2orc_ccby.jsonl")) for line in path.read_bytes().splitlines()]
    articles = [*sorted(data.glob("plos_jats/*.xml")), *sorted(data.glob("pmc_nxml/*.nxml"))]
    payloads = {s2orc: papers, jats: [path.read_bytes() for path in articles]}
    return [_rate(reader, found, megabytes) for reader, found in payloads.items() if found]


def _rate(reader: object, payloads: list[bytes], megabytes: float) -> Rate:
    read = text = 0
    started = time.process_time()
    for payload in cycle(payloads):
        if read >= megabytes * 1e6:
            break
        text += len(reader.parse(payload).text.encode())
        read += len(payload)
    seconds = time.process_time() - started
    return Rate(reader.__name__.rpartition(".")[2], len(payloads), read / 1e6, text / 1e6, seconds)
