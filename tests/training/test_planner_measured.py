"""The planner's memory and communication against what a real engine holds and sends, on CPU ranks."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import pytest

from components.training.models import read_config
from components.training.models.common.config import LayerTraits
from components.training.planner.activations import micro_batch_bytes
from components.training.planner.communication import stage_traffic
from components.training.planner.memory import stage_memory
from components.training.planner.run import PlannedRun
from components.training.planner.sizes import ModelSizes
from components.training.planner.stages import cut_stages
from components.training.settings import PretrainSettings
from tests.training.ranks import run_ranks
from tests.training.tiny import random_batch, tiny_settings, write_tiny_model

WIDE = {"hidden_size": 128, "num_attention_heads": 4, "vocab_size": 512}  # wide enough that odds and ends are little
LLAMA = WIDE | {"intermediate_size": 320}
TOLERANCE = 0.02


def measure(folder: Path, settings: PretrainSettings, result: Path) -> None:
    """Runs on each rank: bytes held and sent in one step of one micro-batch; the last rank writes them down."""
    import torch
    import torch.distributed as dist

    from components.training.convert import load_weights
    from components.training.engine.engine import Engine
    from components.training.models import read_config
    from components.training.models.common.recompute import SelectiveRecompute
    from components.training.process import start_process

    process = start_process(settings.layout, timeout_minutes=2)
    config = read_config(folder)
    engine = Engine(config, settings, process.layout, process.groups)
    load_weights(folder, engine.parameters(), config, process)
    engine.start()
    optimizer, parameters = engine._deepspeed.optimizer, list(engine._deepspeed.module.parameters())
    weights = _storage_bytes(parameters)

    gradients, tied_weights = 0, engine._deepspeed.module.get_tied_weights_and_groups

    def after_the_last_micro_batch() -> list:
        """In place of what DeepSpeed calls first then."""
        nonlocal gradients
        sums = getattr(optimizer, "fp32_groups_gradients_flat", [])
        gradients = _storage_bytes([*sums, *(p.grad for p in parameters if p.grad is not None)])
        return tied_weights()

    engine._deepspeed.module.get_tied_weights_and_groups = after_the_last_micro_batch
    sent: Counter[str] = Counter()
    for name in ("all_gather_single", "reduce_scatter_single", "all_reduce"):
        setattr(dist, name, _counted(getattr(dist, name), name, process.groups, sent))
    saved: dict[int, torch.Tensor] = {}
    own = {p.untyped_storage().data_ptr() for p in parameters}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    pack = SelectiveRecompute._pack

    def pack_and_keep(self: SelectiveRecompute, tensor: torch.Tensor) -> object:
        """These hooks hide those around them."""
        packed = pack(self, tensor)
        return keep(packed) if isinstance(packed, torch.Tensor) else packed

    SelectiveRecompute._pack = pack_and_keep
    batch = random_batch(0, range(settings.micro_batch_size), config.vocab_size)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        engine.train_step([batch], lr=1e-3)
    adamw = optimizer.optimizer
    masters = [master for group in adamw.param_groups for master in group["params"]]
    moments = [adamw.state[master][name] for master in masters for name in ("exp_avg", "exp_avg_sq")]
    if process.layout.rank == process.layout.world_size - 1:
        measured = {
            "weights": weights,
            "gradients": gradients,
            "optimizer": _storage_bytes(masters + moments),
            "saved": _storage_bytes(list(saved.values())),
        }
        result.write_text(json.dumps(measured | sent))


def _storage_bytes(tensors: list) -> int:
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def _counted(function, name: str, groups: object, sent: Counter[str]):
    """Counts calls over the tensor group by name, and the bytes that are reduced over the data group."""

    def wrapper(*arguments, **options):
        tensor = arguments[0] if arguments else options["tensor"]
        if options.get("group") is groups.tensor:
            sent[name] += 1
        elif name == "all_reduce" and options.get("group") is not None and tensor.numel() > 1:
            sent["reduced"] += tensor.numel() * tensor.element_size()
        return function(*arguments, **options)

    return wrapper


def measured_and_planned(
    tmp_path: Path, layout: tuple[int, int, int], family: str, sizes: dict, **changes: object
) -> tuple[dict[str, int], PlannedRun]:
    folder, result = tmp_path / "model", tmp_path / "measured.json"
    write_tiny_model(family, folder, **sizes)
    settings = tiny_settings(layout, global_batch_size=2 * layout[2], **changes)
    run_ranks(settings.layout.world_size, measure, folder, settings, result)
    run = PlannedRun(
        sizes=ModelSizes.of(read_config(folder)),
        layout=settings.layout.for_rank(0),
        sequence_length=settings.sequence_length,
        micro_batch_size=settings.micro_batch_size,
        global_batch_size=settings.global_batch_size,
        train_iters=1,
        dtype=settings.dtype,
        recompute=settings.recompute,
    )
    return json.loads(result.read_text()), run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "family", "sizes", "changes"),
    [
        ((1, 1, 1), "llama", LLAMA, {"dtype": "bf16"}),
        ((1, 1, 1), "llama", LLAMA, {"dtype": "fp32"}),
        ((1, 1, 1), "falcon-40b", WIDE, {"dtype": "bf16"}),
        ((1, 1, 2), "llama", LLAMA, {"dtype": "bf16"}),
        ((2, 1, 1), "llama", LLAMA, {"dtype": "bf16"}),
        ((2, 1, 1), "llama", LLAMA, {"dtype": "bf16", "recompute": "full"}),
        ((2, 1, 1), "llama", LLAMA, {"dtype": "bf16", "recompute": "selective"}),
        ((1, 1, 1), "falcon-40b", WIDE, {"dtype": "bf16", "recompute": "selective"}),
    ],
    ids=str,
)
def test_an_engine_holds_and_sends_what_is_planned(
    tmp_path: Path, layout: tuple[int, int, int], family: str, sizes: dict, changes: dict
) -> None:
    measured, run = measured_and_planned(tmp_path, layout, family, sizes, **changes)
    (stage,) = cut_stages(run)
    memory, traffic = stage_memory(run, stage), stage_traffic(run, stage)
    # The loss keeps the softmax; the logits themselves are held outside of autograd.
    logits = run.element_bytes * run.padded_vocab_size / layout[0] * run.micro_batch_tokens
    saved = micro_batch_bytes(run, stage) - logits
    print(measured, memory, saved)
    assert measured["weights"] == pytest.approx(memory.weights, rel=TOLERANCE)
    assert measured["gradients"] == pytest.approx(memory.gradients, rel=TOLERANCE)
    assert measured["optimizer"] == pytest.approx(memory.optimizer, rel=TOLERANCE)
    assert measured["saved"] == pytest.approx(saved, rel=TOLERANCE)
    if layout[0] > 1:
        assert measured["all_gather_single"] == traffic.all_gathers
        assert measured["reduce_scatter_single"] == traffic.reduce_scatters
    if layout[2] > 1:
        # A ring sends (n - 1) / n of a tensor twice to reduce it; the weights come back once, in the same type.
        share = (layout[2] - 1) / layout[2]
        assert 2 * share * measured["reduced"] + share * memory.weights == pytest.approx(traffic.data_bytes)


def test_layers_are_cut_as_deepspeed_cuts_them() -> None:
    from deepspeed.runtime.utils import partition_balanced

    for layers, count in ((4, 3), (32, 5), (80, 7), (80, 8), (10, 4)):
        sizes = ModelSizes(8, layers, 2, 2, 4, 16, 64, 64, LayerTraits())
        layout = tiny_settings((1, count, 1)).layout.for_rank(0)
        run = PlannedRun(sizes, layout, 32, 2, 8, 1)
        cut = partition_balanced([0] + [1] * layers + [0, 0], count)
        by_deepspeed = [min(int(end), layers + 1) - max(int(begin), 1) for begin, end in itertools.pairwise(cut)]
        assert [stage.layers for stage in cut_stages(run)] == by_deepspeed
