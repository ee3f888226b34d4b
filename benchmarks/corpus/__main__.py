"""`python -m benchmarks.corpus`: measure our corpus build next to its peers, and write benchmarks/results/corpus.md."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.corpus import data, formatting, table
from benchmarks.corpus.builds import BUILDS, Build, make_peers_environment, measure
from components.corpus import tokenizer

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "corpus.md"
SAMPLE = ROOT / "pipelines" / "sample"
VOCABULARY = 32_000
QUARTER, ALL = "text-0.jsonl", "text-*.jsonl"  # of four files
COMPARABLE = 0.25  # tokens of a megabyte may differ from ours by this share: filters and duplicates differ


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.corpus", description=__doc__)
    parser.add_argument("--megabytes", type=float, default=100, help="text for our build and for datasets (100)")
    parser.add_argument("--slow-megabytes", type=float, default=8, help="text for datatrove (8)")
    parser.add_argument("--format-megabytes", type=float, default=50, help="records per reader (50)")
    parser.add_argument("--ours-only", action="store_true", help="print our figures, and write no results")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "benchmarks" / "corpus", help="scratch folder")
    arguments = parser.parse_args()
    builds = BUILDS[:1] if arguments.ours_only else BUILDS
    if not arguments.ours_only:
        make_peers_environment()
    real = Path(os.environ.get("MEDITRON_DATA") or SAMPLE)
    work = arguments.work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    passages = data.passages(real)
    texts = {False: data.make(work / "text", passages, arguments.megabytes)}
    if not arguments.ours_only:
        texts[True] = data.make(work / "text-slow", passages, arguments.slow_megabytes)
    _train_tokenizer([file.path for file in texts[False]], work / "tokenizer")
    pairs = [_pair(build, texts[build.slow], work) for build in builds]
    expect_comparable(pairs)
    report = table.markdown(pairs, formatting.rates(real, arguments.format_megabytes))
    print(report)
    if not arguments.ours_only:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(report, encoding="utf-8")


def _train_tokenizer(texts: list[Path], folder: Path) -> None:
    """The one tokenizer of all builds, trained on the first quarter of the text."""
    tokenizer.save_trained(tokenizer.trained(_texts(texts[0]), VOCABULARY), folder)


def _texts(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as rows:
        for row in rows:
            yield json.loads(row)["text"]


def _pair(build: Build, files: list[data.TextFile], work: Path) -> table.Pair:
    results = []
    for pattern, name in ((QUARTER, "quarter"), (ALL, "all")):
        result = measure(build, files, pattern, work / "tokenizer", work / "out" / build.name / name)
        print(
            f"{build.name}: {result.megabytes:.0f} MB in {result.usage.cpu_seconds:.1f} CPU s, "
            f"{result.usage.wall_seconds:.1f} s",
            flush=True,
        )
        results.append(result)
    return results[0], results[1]


def expect_comparable(pairs: list[table.Pair]) -> None:
    """
    Raises:
        RuntimeError: a build left out so much, or so little, that its rate says nothing.
    """
    ours = pairs[0][1].tokens / pairs[0][1].megabytes
    for _, result in pairs[1:]:
        density = result.tokens / result.megabytes
        if abs(density / ours - 1) > COMPARABLE:
            raise RuntimeError(f"{result.build.name}: {density:,.0f} tokens per megabyte, ours {ours:,.0f}")


if __name__ == "__main__":
    main()
