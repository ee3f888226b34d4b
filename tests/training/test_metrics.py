"""What `metrics.jsonl` and the report tell, and validation by group."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from components.platform.indexed import IndexedWriter
from components.training.batch import validation_groups
from components.training.data.windows import Windows
from components.training.metrics import TrainingLog, read_metrics
from components.training.report import training_page
from tests.training.ranks import run_ranks
from tests.training.test_resume import make_job, train
from tests.training.tiny import tiny_settings

STEP = {"loss": 2.5, "grad_norm": 0.5, "lr": 1e-3, "tokens_per_second": 1234.5, "data_stall": 0.1}
STEP |= {"peak_memory_bytes": 2.0**30}


def open_log(path: Path, after: int = 0) -> TrainingLog:
    return TrainingLog(path / "metrics.jsonl", "test", 10, after)


def test_rows_behind_a_checkpoint_are_forgotten(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    for iteration in range(1, 6):
        log.step(iteration, **STEP)
    log.validation(5, {"papers": 1.0}, 1.0)
    log.rewind(4)
    log.step(5, **STEP | {"loss": 7.0})
    log.close()
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [(row["iteration"], row["loss"]) for row in rows] == [(1, 2.5), (2, 2.5), (3, 2.5), (4, 2.5), (5, 7.0)]
    open_log(tmp_path, after=2).close()
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 2


def test_a_run_that_begins_again_has_its_first_validation_once(tmp_path: Path) -> None:
    """As after a kill before the first checkpoint."""
    for _ in range(2):
        log = open_log(tmp_path)
        log.validation(0, {"papers": 1.0}, 1.0)
        log.step(1, **STEP)
        log.close()
    assert [row["iteration"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [0, 1]


def test_a_line_cut_short_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"iteration": 1, "loss": 2.0}\n{"iteration": 2, "lo')
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"iteration": 1, "loss": 2.0}]


def test_progress_line_is_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = open_log(tmp_path)
    log.step(1, **STEP | {"mfu": 0.456, "mfu_6n": 0.4})
    log.close()
    line = capsys.readouterr().out
    assert line.endswith("loss=2.5 lr=0.001 tokens/s=1,234 mfu=46%\n")


def test_validation_has_perplexities_as_far_as_there_are_numbers(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.validation(3, {"guidelines": 2.0, "papers": 1000.0}, 751.0)
    log.close()
    [row] = read_metrics(tmp_path / "metrics.jsonl")
    assert row.pop("validation_perplexity/guidelines") == pytest.approx(math.exp(2.0))
    expected = {"validation_loss": 751.0, "validation_loss/guidelines": 2.0, "validation_loss/papers": 1000.0}
    assert row == {"iteration": 3} | expected
    page = training_page("Training", {}, [{"iteration": 1} | STEP, row])
    assert "too large" in page


def test_report_has_a_plot_of_all_that_was_measured() -> None:
    steps = [{"iteration": i} | STEP for i in (1, 2)]
    validation = {"iteration": 2, "validation_loss": 2.0, "validation_perplexity": math.exp(2.0)}
    validation |= {"validation_loss/papers": 2.0, "validation_perplexity/papers": math.exp(2.0)}
    page = training_page("Training", {"layout": "TP1"}, [*steps, validation])
    assert "Model FLOPs utilisation" not in page
    assert "validation, papers" in page
    assert "<td>papers</td>" in page
    assert page.count("<figure>") == 6
    with_mfu = training_page("Training", {}, [step | {"mfu": 0.5, "mfu_6n": 0.4} for step in steps])
    assert "Model FLOPs utilisation" in with_mfu
    assert "held-out text" not in with_mfu


def test_each_group_is_validated_by_its_share(tmp_path: Path) -> None:
    settings = tiny_settings((1, 1, 2))  # 2 × 2 samples at once
    job = make_job(tmp_path / "run", settings)
    # guidelines and papers have the same number of windows; short has none, tiny one.
    prefixes = dict(job.validation.prefixes)
    for group, tokens in (("short", 32), ("tiny", 33)):
        prefixes[group] = tmp_path / group
        with IndexedWriter(prefixes[group], np.uint16) as writer:
            writer.add(list(range(tokens)))
    windows = {group: len(Windows(prefix, 32)) for group, prefix in prefixes.items()}
    assert windows["short"] == 0
    assert windows["tiny"] == 1
    job = job.model_copy(update={"validation": job.validation.model_copy(update={"prefixes": prefixes})})
    ranks = [validation_groups(job, settings.layout.for_rank(rank)) for rank in (0, 1)]
    for groups in ranks:
        assert [group.name for group in groups] == ["guidelines", "papers", "tiny"]
        assert [group.count for group in groups] == [1, 1, 1]
        assert sum(group.share for group in groups) == pytest.approx(1)
        assert groups[2].share == pytest.approx(1 / sum(windows.values()))
    counted = [sum(batch.mask.sum() for group in groups for batch in group.batches) for groups in ranks]
    assert sum(counted) == 32 * (4 + 4 + 1)


def test_losses_of_groups_and_of_all_are_those_of_the_base_model(tmp_path: Path) -> None:
    """On all windows: what the rows say before the first iteration, against Hugging Face's model."""
    from transformers import LlamaForCausalLM

    job = make_job(tmp_path / "run", tiny_settings((1, 1, 1)))
    job = job.model_copy(update={"validation": job.validation.model_copy(update={"num_samples": 10_000})})
    run_ranks(1, train, job)
    row = next(row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if "validation_loss" in row)
    assert row["iteration"] == 0

    model = LlamaForCausalLM.from_pretrained(job.base, dtype=torch.float32)
    losses = []
    for group, prefix in job.validation.prefixes.items():
        windows = Windows(prefix, 32)
        tokens = torch.from_numpy(np.stack([windows[i] for i in range(len(windows))]))
        with torch.no_grad():
            logits = model(tokens[:, :-1]).logits
        own = torch.nn.functional.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")
        assert row[f"validation_loss/{group}"] == pytest.approx(own.mean().item(), abs=1e-6)
        losses.append(own)
    assert row["validation_loss"] == pytest.approx(torch.cat(losses).mean().item(), abs=1e-6)
