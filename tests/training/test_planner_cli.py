"""`meditron plan` on the shipped recipes, without the base models' files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.training.planner.table import WIDTH
from pipelines.cli import main


@pytest.mark.parametrize(
    "options",
    [
        ["--recipe", "meditron-70b"],
        ["--recipe", "meditron-7b", "--gpus", "32", "--hardware", "h100", "--compiled"],
        ["--recipe", "meditron-70b", "--search", "--network-gbits", "200"],
        ["--recipe", "laptop"],
        ["--recipe", "laptop", "--search", "--gpus", "2"],
    ],
    ids=" ".join,
)
def test_shipped_recipes_can_be_planned(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *options]) == 0
    output = capsys.readouterr().out
    assert "tokens" in output
    assert max(map(len, output.splitlines())) <= WIDTH
    assert "…" not in output


def test_assumptions_can_be_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--recipe", "meditron-70b", "--pue", "1.2", "--co2", "16"]) == 0
    output = capsys.readouterr().out
    assert "PUE 1.2" in output
    assert "16 g/kWh" in output


def test_a_model_that_is_not_known_by_name_needs_its_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.json"
    record = {"model_type": "llama", "vocab_size": 1000, "hidden_size": 512, "intermediate_size": 1024}
    record |= {"num_hidden_layers": 4, "num_attention_heads": 8, "max_position_embeddings": 4096}
    config.write_text(json.dumps(record))
    assert main(["plan", "--recipe", "meditron-7b", "--model-config", str(config)]) == 0
    # 2 · 1000 · 512 + 4 · (4 · 512² + 3 · 512 · 1024 + 2 · 512) + 512
    assert "11.5 million parameters" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gpus", "100"], "--gpus 100 is not divisible by TP8 × PP8 = 64; give a multiple of it"),
        (["--gpus", "192"], "global_batch_size 512 is not divisible by micro_batch_size 2 × data_parallel_size 3 = 6"),
        (["--gpus", "8", "--search"], "no layout of 8 a100-80gb GPUs can train this model"),
        (["--hardware", "b200"], "no hardware 'b200'; known are a100-40gb, a100-80gb, h100, h200"),
        (["--model-config", "none.json"], "none.json: No such file or directory; expected a Hugging Face config.json"),
    ],
    ids=str,
)
def test_what_can_not_be_planned_is_told(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--recipe", "meditron-70b", *options]) == 1
    assert f"error: {message}" in capsys.readouterr().err.replace("TP8 × PP8 × DP3: ", "")
