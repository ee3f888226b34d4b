"""Folders that can't be used are refused from their files alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components.platform.errors import InputError
from components.serving.folder import find_model
from tests.serving.conftest import ROOT
from tests.serving.models import change_json


@pytest.fixture
def folder(cat: Path, tmp_path: Path) -> Path:
    """A copy that may be broken."""
    return Path(shutil.copytree(cat / "model", tmp_path / "model"))


def test_a_complete_folder(cat: Path) -> None:
    assert find_model(cat) == find_model(cat / "model")
    assert find_model(cat).context == 256


def test_the_template_may_lie_in_a_file_of_its_own(folder: Path) -> None:
    template = json.loads((folder / "tokenizer_config.json").read_text())["chat_template"]
    change_json(folder / "tokenizer_config.json", chat_template=None)
    (folder / "chat_template.jinja").write_text(template)
    assert find_model(folder).path == folder


def without(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def truncate_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def index_more_weights(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def forget_chatml(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace("<|im_end|>", "<|other|>"))


BROKEN = {
    "no config": (without("config.json"), r"config\.json missing; expected an exported"),
    "no generation config": (without("generation_config.json"), r"generation_config\.json missing"),
    "no tokenizer": (without("tokenizer.json"), r"tokenizer\.json missing"),
    "no weights": (without("model.safetensors"), r"no model\.safetensors and .*; only safetensors are read"),
    "part of the weights": (index_more_weights, r"model-00002-of-00002\.safetensors: missing"),
    "truncated weights": (truncate_weights, r"model\.safetensors: damaged or cut short, not a safetensors file"),
    "no JSON": (lambda folder: (folder / "config.json").write_text("{"), r"config\.json: not JSON"),
    "a list": (lambda folder: (folder / "config.json").write_text("[]"), r"config\.json: expected a JSON object"),
    "no ChatML": (forget_chatml, r"the tokenizer lacks the token <\|im_end\|>; chat needs a fine-tuned model"),
    "no template": (
        lambda folder: change_json(folder / "tokenizer_config.json", chat_template=None),
        "the tokenizer lacks a chat template",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_folders(folder: Path, case: str) -> None:
    break_it, message = BROKEN[case]
    break_it(folder)
    with pytest.raises(InputError, match=message):
        find_model(folder)


@pytest.mark.parametrize("verb", ["chat", "serve"])
def test_nothing_is_loaded_for_a_folder_that_is_not_there(verb: str) -> None:
    script = (
        "import sys; from pipelines.cli import main; code = main(sys.argv[1:]);"
        "print('loaded:', sorted({'torch', 'transformers'} & set(sys.modules))); sys.exit(code)"
    )
    command = [sys.executable, "-c", script, verb, "--model", "/nowhere"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: /nowhere: no such folder; expected an exported Hugging Face model\n"
    assert done.stdout == "loaded: []\n"
