"""From a registered version back to every source file, also when folders are gone; and what has changed since."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from components.platform.manifest import Manifest
from components.platform.storage import sha256
from components.registry.lineage import OTHER_FILES, lineage_tags, trace
from components.registry.verify import verify


def nowhere(digest):
    return None


@pytest.fixture
def tags(artifacts):
    return lineage_tags(artifacts)


def test_every_file_is_found(artifacts, tags, data):
    found = trace(tags, nowhere)
    assert {artifact.role: artifact.digest for artifact in found.values()} == {
        role: manifest.digest for role, manifest in artifacts.items()
    }
    corpus = found[artifacts["corpus"].digest]
    assert {source: [file.name for file in files] for source, files in corpus.sources.items()} == {
        "guidelines": ["guidelines/a.jsonl", "guidelines/b.jsonl"],
        "replay": ["stack/exchange.jsonl"],
        OTHER_FILES: ["eval/medqa.jsonl"],
    }
    for file in corpus.files():
        assert (file.bytes, file.digest) == (data[file.name].stat().st_size, f"sha256:{sha256(data[file.name])}")
    assert corpus.inputs == {}
    [(digest, place)] = corpus.parts.values()
    assert Manifest.load(place).digest == digest


def test_an_earlier_run_is_walked_by_places_alone(artifacts):
    """Without tags of their own, as for the corpora that a retraining adds to."""
    tags = lineage_tags({"quantized": artifacts["quantized"]})
    found = trace(tags, nowhere)
    assert [artifact.role for artifact in found.values()] == ["quantized", "corpus", "model", "model"]
    assert {artifact.digest for artifact in found.values()} == {
        artifacts[role].digest for role in ("quantized", "corpus", "tuned", "pretrained")
    }


def test_mlflow_remembers_what_is_gone(artifacts, tags):
    corpus = artifacts["corpus"]
    shutil.rmtree(corpus.uri)
    kept = {corpus.digest: corpus}
    found = trace(tags, kept.get)[corpus.digest]
    assert (found.found, "no such manifest" in found.problem) == ("mlflow", True)
    assert {file.name: file.digest for file in found.files()} == corpus.made_by["sources"]
    lost = trace(tags, nowhere)[corpus.digest]
    assert (lost.found, lost.manifest, lost.sources) == ("nowhere", None, {})


def test_another_result_in_its_place_is_no_part_of_the_lineage(artifacts, tags):
    tuned = artifacts["tuned"]
    replace(tuned, files=tuned.files[:1]).save(Path(tuned.uri) / "manifest.json")
    found = trace(tags, nowhere)[tuned.digest]
    assert found.found == "nowhere"
    assert "another result lies here by now" in found.problem


def test_all_is_as_it_was(artifacts, tags, platform):
    verification = verify(trace(tags, nowhere), platform.data)
    assert verification.problems == ()
    assert (verification.artifacts, verification.files, verification.unchecked) == (7, 4, 0)


def test_what_is_gone_or_changed_is_named(artifacts, tags, platform, data):
    data["guidelines/a.jsonl"].write_text("another content\n")
    data["stack/exchange.jsonl"].unlink()
    weights = Path(artifacts["tuned"].uri) / "model" / "model.safetensors"
    weights.write_text("y" * 100)
    shutil.rmtree(artifacts["pretrained"].uri)
    verification = verify(trace(tags, nowhere), platform.data)
    assert (verification.artifacts, verification.files) == (5, 2)
    text = "\n".join(verification.problems)
    assert len(verification.problems) == 4
    assert "guidelines/a.jsonl: changed: sha256:" in text
    assert f"stack/exchange.jsonl: gone from {platform.data}" in text
    assert f"{weights}: SHA-256 differs" in text
    assert f"pretrained {artifacts['pretrained'].digest[:12]}: not to be found" in text


def test_on_s3_sizes_and_etags_are_compared(bucket, artifacts, data):
    from components.platform.storage import s3

    name, key = bucket.removeprefix("s3://"), "data/eval/medqa.jsonl"
    client = s3.client()
    client.put_object(Bucket=name, Key=key, Body=b"question")
    etag = client.head_object(Bucket=name, Key=key)["ETag"].strip('"')
    client.put_object(Bucket=name, Key="runs/weights", Body=b"four")
    digests = {"eval/medqa.jsonl": f"etag:{etag}:8", "hf://datasets/a/b@1/train": "hub:1:default:train"}
    made_by = {"sources": digests, "source_bytes": {"eval/medqa.jsonl": 8}}
    local = Path(artifacts["quantized"].uri).parent / "s3"
    local.mkdir()
    (local / "weights").write_text("four")
    manifest = replace(Manifest.of_folder("sft", local, made_by=made_by), uri=f"{bucket}/runs")
    manifest.save(local / "manifest.json")
    client.upload_file(str(local / "manifest.json"), name, "runs/manifest.json")
    found = trace(lineage_tags({"tuned": manifest}), nowhere)
    same = verify(found, f"{bucket}/data")
    assert (same.problems, same.artifacts, same.files, same.unchecked) == ((), 1, 1, 1)
    client.put_object(Bucket=name, Key=key, Body=b"answered")
    client.put_object(Bucket=name, Key="runs/weights", Body=b"three")
    now = verify(found, f"{bucket}/data")
    assert f"{bucket}/runs/weights: 5 bytes, the manifest says 4 bytes" in now.problems[0]
    assert "eval/medqa.jsonl: changed: etag:" in now.problems[1]
