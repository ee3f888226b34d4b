"""One byte that is not what it was, in whatever a run has on disk: it is noticed, named, and a rerun puts it right."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from components.evaluation import results
from components.evaluation.results import Verdict
from components.platform.errors import InputError
from components.platform.indexed import IndexedWriter
from components.platform.manifest import MANIFEST_NAME, Manifest
from components.platform.settings import Settings
from components.platform.stage import produce
from components.training.metrics import read_metrics


class Corpus(Settings):
    """Settings of the stage in this file."""


def write(folder: Path) -> dict[str, int]:
    for shard in range(3):
        with IndexedWriter(folder / "tokens" / f"{shard}", np.uint16) as writer:
            writer.add(np.arange(1000))
    return {"vocab_size": 1000}


def flip(path: Path, place: int | None = None) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if place is None else place] ^= 1
    path.write_bytes(content)


@pytest.fixture
def corpus(platform) -> Manifest:
    return produce("corpus", Corpus(), {}, platform, write)


def test_a_shard_in_the_middle(corpus, platform):
    path = Path(corpus.uri, "tokens", "1.bin")
    flip(path)
    for read in (corpus.local, lambda: corpus.fetch("tokens/1.bin")):
        with pytest.raises(InputError, match=f"^{path}: SHA-256 differs .*; restore it, or remove {corpus.uri}"):
            read()
    assert corpus.fetch("tokens/0.bin").exists()
    shutil.rmtree(corpus.uri)  # as the message says
    assert produce("corpus", Corpus(), {}, platform, write).digest == corpus.digest
    assert corpus.local()


def test_a_manifest(corpus, platform):
    """Wherever the byte lies: in its syntax, in a name, or in a number that nothing else would tell."""
    path = Path(corpus.uri, MANIFEST_NAME)
    whole = path.read_bytes()
    places = [0, whole.index(b'"checksum"') + 1, whole.index(b'"vocab_size"') + 15, whole.index(b'"sha256"') + 15]
    for place in [*places, *range(1, len(whole), 97)]:
        flip(path, place)
        if json_or_none(path.read_bytes()) != json.loads(whole):  # else it was a blank that no one misses
            with pytest.raises(InputError, match=f"^{path}: not a manifest, or a damaged one: .*remove its folder"):
                Manifest.load(corpus.uri)
            with pytest.raises(InputError, match=f"^{path}: "):
                produce("corpus", Corpus(), {}, platform, write)
        path.write_bytes(whole)
    assert Manifest.load(corpus.uri) == corpus


def json_or_none(content: bytes) -> object:
    try:
        return json.loads(content)
    except ValueError:
        return None


def verdict(number: int) -> Verdict:
    return Verdict(
        mode="cot",
        benchmark="pubmedqa",
        demonstrations=None,
        id=str(number),
        subject="",
        prompt="Is it?",
        shortened=False,
        fits=True,
        replies=["yes, it is"],
        votes=["yes"],
        prediction="yes",
        answer="yes",
        correct=True,
        restricted_prediction=None,
        choice_logprobs={},
        stem="",
    )


def test_answers_that_an_interrupted_evaluation_left(tmp_path, capsys):
    """What is damaged is asked again, the rest is kept."""
    verdicts = [verdict(number) for number in range(5)]
    results.append(tmp_path, verdicts)
    assert list(results.read_partial(tmp_path).values()) == verdicts
    path = tmp_path / results.PARTIAL
    lines = path.read_bytes().splitlines(keepends=True)
    flip(path, len(lines[0]) + lines[1].index(b"yes, it is"))
    assert list(results.read_partial(tmp_path).values()) == [verdicts[0], *verdicts[2:]]
    assert f"{path}: 1 of 5 lines damaged; what was there is asked again" in capsys.readouterr().out
    results.append(tmp_path, [verdicts[1]])
    assert set(results.read_partial(tmp_path)) == {verdict.key for verdict in verdicts}
    assert capsys.readouterr().out == ""


def test_a_training_curve(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"iteration": 1, "loss": 2.0}\n{"iteration": 2, "loss": 1.5}\n{"iteration": 3, "lo')
    assert [row["iteration"] for row in read_metrics(path)] == [1, 2]
    flip(path, 31)  # the brace that the second row begins with
    with pytest.raises(InputError, match=f"^{path}:2: not a row of metrics; remove the line"):
        read_metrics(path)
