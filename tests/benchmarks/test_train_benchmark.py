"""The training benchmark: its reckoning, its tables, and its CPU path from workers to report. No GPU, no results."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from benchmarks.train import __main__ as command
from benchmarks.train import table
from benchmarks.train.cases import LLAMA_1B, LLAMA_7B, TINY, Case, cpu_cases, gpu_cases
from benchmarks.train.processes import CaseError, Step, started
from benchmarks.train.table import Result
from components.training.base import tensor_shapes
from components.training.flops import attention_flops, parameter_flops
from components.training.models.llama.config import LlamaConfig

H200, A100 = 150_000_000_000, 80_000_000_000  # bytes


def cells(lines: list[str]) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]


@pytest.mark.parametrize("shape", [TINY, LLAMA_1B, LLAMA_7B], ids=lambda shape: shape.name)
def test_sizes_are_those_of_the_model(shape) -> None:
    config = LlamaConfig.from_hf(shape.hf_config(4096), "test")
    parameters = 0
    for sizes in tensor_shapes(config).values():
        parameters += sizes[0] * (sizes[1] if len(sizes) == 2 else 1)
    assert shape.parameters == parameters


def test_names_say_the_size() -> None:
    assert LLAMA_7B.parameters == pytest.approx(6.738e9, rel=1e-3)
    assert LLAMA_1B.parameters == pytest.approx(1.3e9, rel=0.05)


def test_a_smaller_card_gets_fewer_layers() -> None:
    large, small = (LLAMA_7B.with_layers_for(memory, 4096).layers for memory in (H200, A100))
    assert 1 < small < large < 32
    assert LLAMA_1B.with_layers_for(A100, 8192) == LLAMA_1B


def test_cases_travel_as_json() -> None:
    for case in (*cpu_cases(TINY, 32), *gpu_cases(H200)):
        assert Case.from_json(case.to_json()) == case


def test_every_gpu_setting_has_a_peer_of_the_same_work() -> None:
    cases = gpu_cases(H200)
    for shape, sequence in ((LLAMA_7B, 2048), (LLAMA_7B, 4096), (LLAMA_1B, 2048), (LLAMA_1B, 4096)):
        alike = [case for case in cases if (case.shape.name, case.sequence) == (shape.name, sequence)]
        assert {case.loop for case in alike} == {"ours", "hugging-face"}
        assert len({(case.shape, case.tokens, case.micro_batch) for case in alike}) == 1


def steps(*walls: float) -> list[Step]:
    return [Step(loss=1.0, cpu=wall, wall=wall, memory=5e9) for wall in walls]


def test_gpu_table_compares_with_hugging_face_and_says_what_is_missing() -> None:
    ours, peer, *_ = gpu_cases(H200)
    out = Result(replace(ours, name="greedy"), [], problem="out of memory")
    peak = 989e12
    rows = cells(table.gpu_table([Result(ours, steps(1, 2, 9), peak), Result(peer, steps(4, 4, 4), peak), out]))[2:]
    assert rows[0][3:5] == [f"{ours.tokens / 2:,.0f}", "2.00 ×"]
    weights, attention = parameter_flops(ours.shape.parameters), attention_flops(ours.shape.layers, 4096, 4096)
    assert rows[0][5] == f"{ours.tokens / 2 * (weights + attention) / peak:.1%}"
    assert rows[0][6] == f"{ours.tokens / 2 * weights / peak:.1%}"
    assert rows[0][7] == "5.0"
    assert rows[2][2:5] == ["greedy", "out of memory", ""]


def test_no_peak_no_utilisation() -> None:
    assert Result(gpu_cases(H200)[0], steps(1.0)).mfu(with_attention=True) is None


def test_the_first_step_does_not_count_on_a_cpu() -> None:
    assert Result(cpu_cases(TINY, 32)[0], steps(0.5, 3.0, 2.0)).cpu == 2.0


def test_loops_that_do_different_work_are_not_compared(monkeypatch) -> None:
    def in_turns(cases, rounds):
        return [Result(case, [Step(float(index), 1, 1, 0)] * 2) for index, case in enumerate(cases)]

    monkeypatch.setattr(command, "_in_turns", in_turns)
    with pytest.raises(RuntimeError, match="the loops don't do the same work"):
        command.measure_cpu(cpu_cases(TINY, 32), rounds=1)


@pytest.mark.slow
def test_a_worker_that_fails_is_quoted() -> None:
    impossible = replace(cpu_cases(TINY, 32)[0], layout=(3, 1, 1))
    with pytest.raises(CaseError, match="sequence_length 32 is not divisible"), started(impossible, 100):
        pass


@pytest.mark.slow
def test_techniques_change_the_speed_and_not_the_loss() -> None:
    """What the GPU part switches, as far as a CPU has it."""
    ours, peer, _ = cpu_cases(TINY, 32)
    losses = []
    for case in (
        ours,
        replace(ours, fused=True, recompute="selective", compile=False, attention="math"),
        replace(ours, fused=False),
        replace(peer, fused=True, recompute="full", attention="flash"),
    ):
        with started(case, 200) as workers:
            losses.append([step.loss for step in workers.steps(3)])
    for other in losses[1:]:
        assert other == pytest.approx(losses[0], abs=1e-5)


@pytest.mark.slow
def test_cpu_path(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks.train", "--tiny", "--rounds", "1", "--device", "cpu"])
    command.main()
    report = capsys.readouterr().out
    rows = {row[0]: row for row in cells(report.splitlines())}
    assert rows["plain Hugging Face loop"][3] == "1.00 ×"
    assert rows["this engine, TP2 × PP2 × DP2"][1] == "8"
    assert "was not run" in report
