"""What the user sees when something is wrong: one message, no traceback, nothing started."""

import shutil

import pytest

from pipelines.cli import main
from pipelines.recipe import RECIPES

SAMPLE = RECIPES.parent / "sample"


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A copy of the sample in which files can be broken, and an empty folder to run in."""
    shutil.copytree(SAMPLE, tmp_path / "data")
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "data"


def run(capfd, *arguments):
    code = main(["run", *map(str, arguments)])
    output = capfd.readouterr()
    assert "Traceback" not in output.out + output.err
    return code, output.out + output.err


def test_a_wrong_recipe_starts_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    text = (RECIPES / "laptop.yaml").read_text().replace("global_batch_size: 16", "global_batch_size: 15")
    (tmp_path / "wrong.yaml").write_text(text)
    code, output = run(capfd, "--recipe", "wrong.yaml")
    assert code == 1
    assert "wrong.yaml:" in output
    assert "global_batch_size 15 is not divisible by micro_batch_size 4 × data_parallel_size 2 = 8" in output
    assert not (tmp_path / "runs").exists()


def test_missing_files_of_all_stages_are_named_before_the_first_starts(data, tmp_path, capfd):
    (data / "guidelines" / "guidelines.jsonl").unlink()
    (data / "eval" / "medqa" / "test_4_options.jsonl").unlink()
    code, output = run(capfd, "--recipe", "laptop", "--data", data)
    assert code == 1
    assert f"corpus: {data}/guidelines/guidelines.jsonl: no such file" in output
    assert f"evaluation: {data}/eval/medqa/test_4_options.jsonl: no such file" in output
    assert not (tmp_path / "home" / "runs").exists()


@pytest.mark.slow
def test_a_source_without_a_single_document_stops_the_run(data, capfd):
    (data / "guidelines" / "guidelines.jsonl").write_text("this is not JSON\n")
    code, output = run(capfd, "--recipe", "laptop", "--data", data)
    assert code == 1
    assert "corpus  error: source guidelines: no document in guidelines/guidelines.jsonl (1 bad_json)" in output
    assert "Run again to go on from there" in output
