"""Sizes, cuts, formulas and messages of the planner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from components.platform.energy import EnergyAssumptions
from components.platform.errors import InputError, SettingsError
from components.training.models import config_from_hf
from components.training.parallel.layout import ParallelLayout
from components.training.planner.communication import data_seconds, pipeline_seconds, stage_traffic
from components.training.planner.compute import (
    RECOMPUTE,
    layer_traffic,
)
from components.training.planner.hardware import DEFAULT_HARDWARE, hardware_of_label, load_hardware
from components.training.planner.plan import make_plan
from components.training.planner.run import PlannedRun
from components.training.planner.search import search_layouts
from components.training.planner.sizes import ModelSizes, published_sizes
from components.training.planner.stages import cut_stages
from components.training.planner.table import WIDTH, print_plan, print_search

LLAMA_70B = published_sizes("llama-2-70b")
MEDITRON = PlannedRun(LLAMA_70B, ParallelLayout(8, 8, 2), 4096, 2, 512, 22268)
A100 = load_hardware("a100-80gb")
GIB = 2**30


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Llama-2-7b-hf", 6_738_415_616),
        ("llama-2-13b", 13_015_864_320),
        ("llama-2-70b", 68_976_648_192),
        ("Meta-Llama-3-8B", 8_030_261_248),
        ("llama-3-70b", 70_553_706_496),
        ("Mistral-7B-v0.1", 7_241_732_096),
        ("falcon-7b", 6_921_720_704),
        ("falcon-40b", 41_303_293_952),
    ],
)
def test_published_models_have_their_number_of_parameters(name: str, parameters: int) -> None:
    assert published_sizes(name).parameters == parameters


def test_stages_of_meditron_70b() -> None:
    stages = cut_stages(MEDITRON)
    assert [stage.layers for stage in stages] == [10] * 8
    assert [stage.in_flight for stage in stages] == [8, 7, 6, 5, 4, 3, 2, 1]
    # Norms are on all ranks of a tensor group, everything else on one
    norms = LLAMA_70B.hidden_size * (2 * 80 + 1)
    assert 8 * sum(stage.parameters for stage in stages) == LLAMA_70B.parameters + 7 * norms
    assert max(stage.in_flight for stage in cut_stages(replace(MEDITRON, global_batch_size=8))) == 2


def test_a_tied_table_is_on_both_ends_of_a_pipeline() -> None:
    sizes = replace(LLAMA_70B, tied_embeddings=True)
    untied, tied, alone = (
        sum(stage.parameters for stage in cut_stages(PlannedRun(of, ParallelLayout(1, count, 1), 4096, 1, 8, 1)))
        for of, count in ((LLAMA_70B, 2), (sizes, 2), (sizes, 1))
    )
    assert tied == untied == alone + sizes.vocab_size * sizes.hidden_size


def test_a_vocabulary_is_padded_to_the_tensor_group() -> None:
    run = replace(MEDITRON, sizes=replace(LLAMA_70B, vocab_size=32_017))
    assert run.padded_vocab_size == 32_024


def test_zero_divides_the_optimizer_only() -> None:
    one, two = (make_plan(replace(MEDITRON, layout=ParallelLayout(8, 8, data)), A100).memories[0] for data in (1, 2))
    assert (one.weights, one.gradients) == (two.weights, two.gradients)
    assert one.optimizer == 2 * two.optimizer == 12 * cut_stages(MEDITRON)[0].parameters


def test_recomputation_trades_time_for_memory() -> None:
    none, full = (make_plan(replace(MEDITRON, recompute=recompute), A100) for recompute in ("none", "full"))
    assert full.memories[0].activations < none.memories[0].activations / 10
    # 8 FLOPs per parameter and token for 6, in all but the head
    assert full.time.compute / none.time.compute == pytest.approx(4 / 3, rel=0.05)


def test_time_of_equal_stages_has_the_bubble_of_1f1b() -> None:
    """Without embedding and head the stages are equal, and the bubble is (p - 1) / (m + p - 1) of the pipeline."""
    run = replace(MEDITRON, sizes=replace(LLAMA_70B, vocab_size=8))
    plan = make_plan(run, A100)
    pipeline = plan.time.total - plan.time.data - plan.time.optimizer
    assert plan.bubble_fraction == pytest.approx(7 / 135)
    assert plan.time.bubble / pipeline == pytest.approx(7 / 135, rel=5e-3)


def test_bytes_of_a_step() -> None:
    """By hand for a middle stage of Meditron-70B: 10 layers, 128 micro-batches of 2 × 4096 tokens, in bfloat16."""
    stage = cut_stages(MEDITRON)[3]
    traffic = stage_traffic(MEDITRON, stage)
    hidden_states = 2 * 4096 * 8192 * 2
    assert traffic.all_gathers == traffic.reduce_scatters == 128 * 4 * 10
    assert traffic.tensor_bytes == 2 * 128 * 40 * hidden_states * 7 / 8
    assert traffic.pipeline_bytes == 128 * 2 * hidden_states / 8
    assert traffic.data_bytes == 3 * stage.parameters * 2 / 2


def test_all_gpus_of_a_node_share_its_network() -> None:
    slow = load_hardware("a100-80gb", network_gbits_per_node=200)
    message = 2 * 4096 * 8192 * 2  # 8 GPUs send an eighth each
    assert pipeline_seconds(MEDITRON, slow) == pytest.approx(2 * message / (25e9 * slow.fractions.network))
    traffic = stage_traffic(MEDITRON, cut_stages(MEDITRON)[0])
    expected = 8 * traffic.data_bytes / (25e9 * slow.fractions.network)
    assert data_seconds(MEDITRON, traffic, slow) == pytest.approx(expected)
    assert data_seconds(replace(MEDITRON, layout=ParallelLayout(4, 8, 2)), traffic, slow) < expected / 8  # NVLink


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layout": ParallelLayout(16, 1, 1)}, "num_key_value_heads 8 is not divisible by tensor_parallel_size 16"),
        ({"layout": ParallelLayout(1, 81, 1)}, "pipeline_parallel_size 81 is more than num_hidden_layers 80"),
        ({"layout": ParallelLayout(1, 1, 3)}, "global_batch_size 512 is not divisible by micro_batch_size 2 × .* = 6"),
        ({"sequence_length": 8192}, "sequence_length 8192 is more than the model's max_position_embeddings 4096"),
    ],
)
def test_impossible_runs_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        replace(MEDITRON, **changes)


def test_search_ranks_what_fits() -> None:
    result = search_layouts(MEDITRON, 128, A100)
    seconds = [plan.time.total for plan in result.plans]
    assert seconds == sorted(seconds)
    assert all(plan.fits and plan.run.layout.world_size == 128 for plan in result.plans)
    layouts = {(str(plan.run.layout), plan.run.micro_batch_size, plan.run.recompute) for plan in result.plans}
    assert len(layouts) == len(result.plans)
    assert ("TP8 × PP8 × DP2", 2, "none") in layouts  # the paper's
    assert not any(layout == "TP1 × PP1 × DP128" for layout, *_ in layouts)
    # Of each TP and PP, each divisor of a rank's share of 512 samples is tried, with each kind of recomputation
    shares = [512 * tensor * pipeline // 128 for tensor in (1, 2, 4, 8) for pipeline in _powers_up_to(128 // tensor)]
    assert len(result.plans) + sum(result.refused.values()) == 3 * sum(share.bit_length() for share in shares)


def _powers_up_to(limit: int) -> list[int]:
    return [2**exponent for exponent in range(limit.bit_length())]


def test_search_says_why_nothing_fits() -> None:
    with pytest.raises(SettingsError, match="no layout of 8 a100-80gb GPUs .* too large for the GPU's memory"):
        search_layouts(MEDITRON, 8, A100)
    with pytest.raises(SettingsError, match="0 GPUs can't train a model"):
        search_layouts(MEDITRON, 0, A100)


def test_too_large_is_told() -> None:
    plan = make_plan(MEDITRON, load_hardware("a100-40gb"))
    assert not plan.fits
    assert max(memory.total for memory in plan.memories) > 39.4 * GIB


@pytest.mark.parametrize("layout", [ParallelLayout(8, 8, 2), ParallelLayout(1, 80, 1)], ids=str)
def test_tables_fit_a_terminal(layout: ParallelLayout, capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(make_plan(replace(MEDITRON, layout=layout), load_hardware("a100-40gb")), EnergyAssumptions())
    print_search(search_layouts(MEDITRON, 128, A100))
    output = capsys.readouterr().out
    assert max(map(len, output.splitlines())) <= WIDTH
    assert "…" not in output
    assert "does not fit" in output


def test_hardware() -> None:
    assert hardware_of_label("NVIDIA-A100-SXM4-80GB") == "a100-80gb"
    assert hardware_of_label("NVIDIA-H100-80GB-HBM3") == "h100"
    assert hardware_of_label(None) == hardware_of_label("another") == DEFAULT_HARDWARE
    with pytest.raises(SettingsError, match="no hardware 'b200'; known are a100-40gb"):
        load_hardware("b200")


def test_unknown_models_are_refused() -> None:
    with pytest.raises(InputError, match="sizes of 'gpt-2' are not known .* --model-config .*llama-2-7b"):
        published_sizes("gpt-2")
    with pytest.raises(InputError, match="here: model_type is 'gpt2'"):
        config_from_hf({"model_type": "gpt2"}, "here")
    with pytest.raises(InputError, match="here: the key 'num_attention_heads' is missing"):
        config_from_hf({"model_type": "llama"}, "here")


@pytest.mark.parametrize("recompute", ["none", "selective"])
@pytest.mark.parametrize("family", ["llama", "falcon"])
def test_element_wise_traffic_is_what_the_modules_move(family: str, recompute: str) -> None:
    """Bytes in and out of all operations but matrix products, views and the sums of weight gradients."""
    import torch.distributed as dist

    from components.training.engine.pipeline import RUN_LAYER
    from components.training.models.falcon.config import FalconConfig
    from components.training.models.llama.config import LlamaConfig

    sizes = {"vocab_size": 64, "hidden_size": 256, "num_hidden_layers": 1, "num_attention_heads": 4}
    if family == "llama":
        record = sizes | {"model_type": "llama", "intermediate_size": 640, "num_key_value_heads": 2}
    else:
        record = sizes | {"model_type": "falcon", "num_kv_heads": 2, "new_decoder_architecture": True}
    config = (LlamaConfig if family == "llama" else FalconConfig).from_hf(record, "here")
    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    try:
        layer = config.plan_layers(dist.group.WORLD)[1]
        measured = _traffic(layer.module(*layer.arguments), config.hidden_size, RUN_LAYER[recompute])
    finally:
        dist.destroy_process_group()
    planned = layer_traffic(ModelSizes.of(config), compiled=False, recompute=RECOMPUTE[recompute])
    print(family, measured, planned)
    assert measured[0] == pytest.approx(planned[0], rel=0.1)
    assert measured[1] == pytest.approx(planned[1], rel=0.1)


def _traffic(layer, hidden_size: int, run_layer: Callable) -> tuple[float, float]:
    """Bytes per token, forward and backward."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Count(TorchDispatchMode):
        total = 0

        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            result = function(*arguments, **(options or {}))
            name = function.__name__
            products = name.startswith(("mm", "_scaled_dot", "_unsafe_view", "view", "detach", "add_.", "ones_like"))
            if not function.is_view and not products:
                tensors = [x for x in tree_leaves((arguments, options, result)) if isinstance(x, torch.Tensor)]
                self.total += sum(x.numel() * x.element_size() for x in tensors)
            return result

    length = 256
    layer = layer.bfloat16()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    x = torch.randn(length, 1, hidden_size, dtype=torch.bfloat16, requires_grad=True)
    run_layer(layer, x, None).sum().backward()  # fills the table of rotary positions, and weight gradients to add to
    with Count() as forward:
        output = run_layer(layer, x, None)
    with Count() as backward:
        output.backward(torch.ones_like(output))
    return forward.total / length, backward.total / length
