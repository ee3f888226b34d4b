"""The evaluation benchmark: its reckoning, its table, and a run of both programs. No results."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.evaluation import __main__ as command
from benchmarks.evaluation.__main__ import CASES, TINY, expect_same
from benchmarks.evaluation.inputs import Inputs
from benchmarks.evaluation.table import Result, markdown
from components.evaluation.settings import EvaluationSettings


def cells(report: str) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.splitlines() if line.startswith("|")]
    return rows[2:]


@pytest.mark.parametrize("shape", [TINY, *CASES])
def test_sizes_are_those_of_the_model(shape) -> None:
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())
    layers = [p for name, p in model.named_parameters() if "layers" in name and p.dim() == 2]
    assert shape.layer_weights == sum(parameter.numel() for parameter in layers)


def test_one_case_is_like_a_large_model_and_one_has_its_vocabulary() -> None:
    like_7b, large_vocabulary = CASES
    assert like_7b.head_share == pytest.approx(32_000 * 4096 / 6.6e9, abs=0.02)
    assert large_vocabulary.vocabulary == 32_000
    assert like_7b.tokens == large_vocabulary.tokens  # so the prompts are the same


def test_programs_that_choose_differently_are_not_compared() -> None:
    choices = {("task", "1"): "A", ("task", "2"): "B"}
    expect_same({"ours": choices, "theirs": dict(choices)})
    with pytest.raises(RuntimeError, match=r"ours and theirs differ on 1 questions, such as \('task', '2'\)"):
        expect_same({"ours": choices, "theirs": choices | {("task", "2"): "C"}})
    with pytest.raises(RuntimeError, match="differ on 1 questions"):
        expect_same({"ours": choices, "theirs": {("task", "1"): "A"}})


def test_table() -> None:
    here = Path()
    inputs = Inputs(CASES[0], EvaluationSettings(), None, here, here, questions=90, prompt_tokens=9000, folder=here)
    ours, theirs = cells(markdown([Result("ours", inputs, 3.0, 4.0), Result("theirs", inputs, 6.0, 9.0)]))
    assert ours[3:] == ["ours", "30.00", "3,000", "2.00 ×", "3.0 – 4.0"]
    assert theirs[3:] == ["theirs", "15.00", "1,500", "1.00 ×", "6.0 – 9.0"]


@pytest.mark.slow
def test_a_run(monkeypatch, capsys, tmp_path) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))  # so that it is put back
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    options = ["--tiny", "--questions", "3", "--rounds", "1", "--batch-size", "4", "--work", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["benchmarks.evaluation", *options])
    command.main()
    report = capsys.readouterr().out
    assert "- 9 questions" in report
    assert [row[3] for row in cells(report)] == ["this project", "lm-eval"]
    assert cells(report)[1][6] == "1.00 ×"
