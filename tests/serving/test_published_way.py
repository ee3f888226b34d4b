"""The model card's way to use a model, run as docs/using-the-model.md shows it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from tests.serving.conftest import ROOT

ANSWERS = 3  # streamed, from a prompt, from messages


def python_blocks() -> list[str]:
    """The Python code of the documentation."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "using-the-model.md").read_text(), re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("fixture", ["cat", "compressed_cat"])
def test_documented_code(fixture: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    folder = request.getfixturevalue(fixture) / "model"
    code = python_blocks()[0].replace("runs/awq/KEY/model", str(folder))
    assert str(folder) in code
    exec(compile(code, "using-the-model.md", "exec"), {})
    assert capsys.readouterr().out == "cat\n" * ANSWERS


def test_generation_ends_at_either_token(cat: Path) -> None:
    """The tokenizer was trained, so `</s>` is 2; `<|im_end|>` was added last."""
    record = json.loads((cat / "model" / "generation_config.json").read_text())
    added = json.loads((cat / "model" / "tokenizer.json").read_text())["added_tokens"]
    ids = {token["content"]: token["id"] for token in added}
    assert record["eos_token_id"] == [ids["</s>"], ids["<|im_end|>"]]
    assert record["pad_token_id"] == ids["<pad>"]
