"""FLOPs per token and MFU, against published figures and a count of the multiplications that really happen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from components.training.base import tensor_shapes, write_new_model
from components.training.flops import attention_flops, parameter_flops, peak_flops
from components.training.models.common.config import RopeConfig
from components.training.models.llama.config import LlamaConfig
from components.training.parallel.layout import ParallelLayout
from components.training.planner.hardware import load_hardware
from components.training.process import Process
from components.training.watching import Speedometer
from tests.training.ranks import run_ranks
from tests.training.tiny import TINY, tiny_settings


def llama(layers: int, hidden: int, intermediate: int, heads: int, keys: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=32000,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=keys,
        head_dim=hidden // heads,
        rms_norm_eps=1e-5,
        max_position_embeddings=4096,
        rope=RopeConfig(),
    )


def parameters(config: LlamaConfig) -> int:
    return sum(torch.Size(shape).numel() for shape in tensor_shapes(config).values())


def test_meditron_70b_has_its_published_utilisation() -> None:
    """40,200 tokens/s on 128 A100 are published as 42.3% with 6 N."""
    config = llama(80, 8192, 28672, 64, 8)
    peak = 128 * peak_flops("NVIDIA A100-SXM4-80GB")
    meter = Speedometer(
        sequence_length=40_200,
        parameter_flops=parameter_flops(parameters(config)),
        attention_flops=attention_flops(80, 8192, 4096),
        peak_flops=peak,
    )
    figures = meter.figures(seconds=1.0, samples=1)
    assert figures["mfu_6n"] == pytest.approx(0.423, rel=0.02)  # N is 68.98 billion; the paper seems to say 70
    # 12 · 80 layers · 8192 · 4096 tokens over 6 · 68.98e9
    assert figures["mfu"] / figures["mfu_6n"] == pytest.approx(1 + 32.2 / 413.9, rel=1e-3)


def test_flops_of_llama_2_7b_by_hand() -> None:
    assert parameter_flops(6_738_415_616) == 40_430_493_696
    assert attention_flops(32, 4096, 2048) == 3_221_225_472


def test_flops_are_those_that_happen() -> None:
    """Counted in Hugging Face's model: 6 N without table and norms, and attention over all pairs."""
    from transformers import LlamaConfig as HfConfig
    from transformers import LlamaForCausalLM

    config = llama(2, 64, 96, 4, 4)
    sequence = 128
    model = LlamaForCausalLM(
        HfConfig(
            vocab_size=config.vocab_size,
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=2,
            num_attention_heads=4,
            attn_implementation="eager",
        )
    )
    with FlopCounterMode(display=False) as counter:
        model(torch.randint(config.vocab_size, (1, sequence))).logits.sum().backward()
    table_and_norms = config.vocab_size * 64 + 5 * 64
    expected = parameter_flops(parameters(config) - table_and_norms) + attention_flops(2, 64, sequence)
    assert counter.get_total_flops() / sequence == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA GeForce GTX 1080", None),
    ],
)
def test_peaks_go_by_name(name: str, peak: float | None) -> None:
    assert peak_flops(name) == peak


@pytest.mark.parametrize("name", ["a100-40gb", "a100-80gb", "h100", "h200"])
def test_the_planner_knows_the_same_peaks(name: str) -> None:
    hardware = load_hardware(name)
    assert hardware.peak_flops("bf16") == peak_flops(hardware.label)


def test_no_peak_no_utilisation() -> None:
    process = Process(ParallelLayout(1, 1, 1), groups=None, device=torch.device("cpu"))
    assert process.peak_flops("bf16") is None
    figures = Speedometer(sequence_length=100, parameter_flops=1.0, attention_flops=1.0, peak_flops=None).figures(
        2.0, samples=1
    )
    assert figures == {"tokens_per_second": 50.0}


def count(folder: Path, layout: tuple[int, int, int], expected: int) -> None:
    """Runs on each rank."""
    from components.training.engine.engine import Engine
    from components.training.models import read_config
    from components.training.parameters import count_parameters
    from components.training.process import start_process

    settings = tiny_settings(layout)
    process = start_process(settings.layout, timeout_minutes=2)
    config = read_config(folder)
    engine = Engine(config, settings, process.layout, process.groups)
    assert count_parameters(engine.parameters(), config, process) == expected


@pytest.mark.slow
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("layout", [(2, 1, 1), (1, 2, 1), (1, 1, 2)], ids=str)
def test_parameters_are_counted_once_in_any_layout(tmp_path: Path, layout: tuple[int, int, int], tied: bool) -> None:
    config = replace(TINY, tie_word_embeddings=tied)
    write_new_model(config, 0.1, 7, tmp_path)
    run_ranks(2, count, tmp_path, layout, parameters(config))
