"""Every stage's source files are looked for before anything is spent, and none is read."""

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

from components.platform.errors import InputError
from components.platform.storage import files
from components.platform.storage import s3 as access
from pipelines.preflight.sources import check_sources
from pipelines.recipe import RECIPES, load_recipe

SAMPLE = RECIPES.parent / "sample"


def recipe(folder, guidelines):
    """The recipe for laptops, with its guidelines from elsewhere."""
    content = yaml.safe_load((RECIPES / "laptop.yaml").read_text())
    source = next(source for source in content["corpus"]["sources"] if source["name"] == "guidelines")
    source["paths"] = guidelines
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_recipe(str(path), data=str(SAMPLE))


@pytest.fixture
def bucket(monkeypatch):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    access.forget_client()
    client = boto3.client("s3", endpoint_url=url)
    client.create_bucket(Bucket="notes")
    client.put_object(Bucket="notes", Key="new/a.jsonl", Body=b"")
    yield "s3://notes"
    server.stop()
    access.forget_client()


def test_what_is_there_passes_and_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "sha256", lambda path: pytest.fail("hashed"))
    check_sources(recipe(tmp_path, ["guidelines/*.jsonl"]))


def test_all_that_is_missing_is_named_at_once(tmp_path):
    with pytest.raises(InputError) as caught:
        check_sources(recipe(tmp_path, ["guidelines/none.jsonl", "/etc/*", "hf://datasets/epfl-llm", "none/*"]))
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"corpus: {SAMPLE}/guidelines/none.jsonl: no such file")
    assert lines[1].startswith("corpus: '/etc/*': expected a name or glob below the data root")
    assert lines[2].startswith("corpus: hf://datasets/epfl-llm: expected hf://datasets/OWNER/NAME")
    assert lines[3].startswith(f"corpus: {SAMPLE}/none/*: no such file")
    assert len(lines) == 4


def test_what_calibrates_is_looked_for_too(tmp_path):
    wanted = recipe(tmp_path, ["guidelines/*.jsonl"])
    quantization = wanted.quantization.model_copy(update={"benchmarks": ("medqa-4-option",)})
    nowhere = wanted.platform.model_copy(update={"data": str(tmp_path)})
    with pytest.raises(InputError, match=r"(?m)^quantization: .*train_4_options.jsonl: no such file"):
        check_sources(wanted.model_copy(update={"platform": nowhere, "quantization": quantization}))


@pytest.mark.slow
def test_what_lies_on_s3(tmp_path, bucket):
    check_sources(recipe(tmp_path, [f"{bucket}/new/*.jsonl"]))
    with pytest.raises(InputError, match=rf"^corpus: {bucket}/old/\*.jsonl: no such file; expected at least one"):
        check_sources(recipe(tmp_path, [f"{bucket}/old/*.jsonl"]))
    with pytest.raises(InputError, match=r"^corpus: s3://none/x: no such object or bucket \(404 NoSuchBucket\)"):
        check_sources(recipe(tmp_path, ["s3://none/x"]))


@pytest.mark.parametrize("address", ["hf://datasets/clinic/notes/train", "hf://datasets/clinic/notes@main/x/train"])
def test_what_lies_on_the_hub(tmp_path, monkeypatch, address):
    asked = []
    monkeypatch.setattr("components.platform.source.hub.find", asked.append)
    check_sources(recipe(tmp_path, [address]))
    assert asked == [address]
