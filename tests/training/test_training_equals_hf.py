"""The parallel model trains exactly as Hugging Face's: same losses, same gradient norms, in every layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from components.training.batch_sizes import BatchSizes
from components.training.settings import PretrainSettings
from tests.training.ranks import run_ranks
from tests.training.tiny import FAMILIES, random_batch, tiny_settings, write_tiny_model

STEPS = 10
SETTINGS = {"sequence_length": 32, "global_batch_size": 8, "clip_grad": 0.5}


def reference(folder: Path, settings: PretrainSettings, vocab_size: int, separate: bool) -> torch.Tensor:
    """[steps, 2]: loss and gradient norm of Hugging Face's model with AdamW on the whole batch."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-5)
    curve = []
    for step in range(STEPS):
        batch = random_batch(step, range(len(BatchSizes(settings).samples(step))), vocab_size, separate)
        logits = separate_logits(model, batch) if separate else model(batch.tokens).logits
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), batch.targets, reduction="none")
        loss = (losses * batch.mask).sum() / batch.mask.sum()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()
        curve.append((loss.item(), norm.item()))
    return torch.tensor(curve)


def separate_logits(model: torch.nn.Module, batch) -> torch.Tensor:
    """Logits of each document on its own, put together as they lie in the samples."""
    samples = []
    for tokens, positions in zip(batch.tokens, batch.positions, strict=True):
        starts = torch.nonzero(positions == 0).flatten()[1:].tolist()
        samples.append(torch.cat([model(document[None]).logits[0] for document in tokens.tensor_split(starts)]))
    return torch.stack(samples)


def train(folder: Path, settings: PretrainSettings, result: Path, sabotage: Callable | None, separate: bool) -> None:
    """Runs on each rank: the same training in a parallel layout."""
    from components.training.convert import load_weights
    from components.training.engine.engine import Engine
    from components.training.models import read_config
    from components.training.process import start_process

    process = start_process(settings.layout, timeout_minutes=2)
    layout = process.layout
    config = read_config(folder)
    engine = Engine(config, settings, layout, process.groups)
    load_weights(folder, engine.parameters(), config, process)
    if sabotage:
        sabotage(engine)
    engine.start()

    def batches(step: int, count: int) -> list:
        first = layout.data_rank * 2 * count
        samples = [range(first + 2 * m, first + 2 * m + 2) for m in range(count)]
        return [random_batch(step, pair, config.vocab_size, separate) for pair in samples]

    curve = []
    for step in range(STEPS):
        needs_data = layout.is_first_stage or layout.is_last_stage
        count = len(BatchSizes(settings).samples(step)) // (2 * settings.layout.data_parallel_size)
        own = batches(step, count) if needs_data else []
        before = engine.eval_step(own, count)
        outcome = engine.train_step(own, lr=1e-3, count=count)
        assert before == pytest.approx(outcome.loss, abs=1e-6)
        curve.append((outcome.loss, outcome.grad_norm))
    if process.is_main:
        result.write_text(json.dumps(curve))


def differences(
    tmp_path: Path,
    layout: tuple[int, int, int],
    family: str = "llama",
    vocab_size: int = 40,
    sabotage: Callable | None = None,
    separate: bool = False,
    **changes: object,
) -> tuple[float, float]:
    """Largest difference of loss and of gradient norm from Hugging Face's over a few steps."""
    folder, result = tmp_path / "model", tmp_path / "curve.json"
    write_tiny_model(family, folder, vocab_size=vocab_size)
    settings = tiny_settings(layout, **SETTINGS | changes)
    run_ranks(settings.layout.world_size, train, folder, settings, result, sabotage, separate)
    curve = torch.tensor(json.loads(result.read_text()))
    loss, norm = (curve - reference(folder, settings, vocab_size, separate)).abs().amax(0).tolist()
    print(f"loss {loss:.1e}, gradient norm {norm:.1e}")
    return loss, norm


@pytest.mark.parametrize("family", FAMILIES)
def test_one_rank(tmp_path: Path, family: str) -> None:
    assert max(differences(tmp_path, (1, 1, 1), family)) < 1e-6


@pytest.mark.parametrize("family", ["llama", "mistral", "falcon-40b"])
def test_separate_documents(tmp_path: Path, family: str) -> None:
    """Hugging Face's model gets each document on its own."""
    assert max(differences(tmp_path, (1, 1, 1), family, separate=True)) < 1e-6


@pytest.mark.slow
def test_separate_documents_in_three_dimensions(tmp_path: Path) -> None:
    assert max(differences(tmp_path, (2, 2, 2), separate=True, recompute="selective")) < 1e-6


@pytest.mark.slow
def test_separate_documents_with_tied_embeddings(tmp_path: Path) -> None:
    assert max(differences(tmp_path, (1, 2, 1), "llama-tied", separate=True)) < 1e-6


RAMP = {"start": 4, "increment": 4, "samples": 20}


def test_batch_size_ramp_up(tmp_path: Path) -> None:
    assert max(differences(tmp_path, (1, 1, 1), rampup_batch_size=RAMP)) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("layout", [(1, 2, 1), (1, 1, 2)], ids=str)
def test_batch_size_ramp_up_in_parallel(tmp_path: Path, layout: tuple[int, int, int]) -> None:
    assert max(differences(tmp_path, layout, rampup_batch_size=RAMP)) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("layout", [(2, 1, 1), (1, 2, 1), (1, 1, 2), (2, 2, 2)], ids=str)
def test_parallel(tmp_path: Path, layout: tuple[int, int, int]) -> None:
    assert max(differences(tmp_path, layout)) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "family"), [((4, 1, 2), "llama-mha"), ((1, 4, 2), "llama")], ids=str)
def test_eight_ranks(tmp_path: Path, layout: tuple[int, int, int], family: str) -> None:
    assert max(differences(tmp_path, layout, family)) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama-tied", "mistral", "falcon-40b"])
def test_tensor_parallel(tmp_path: Path, family: str) -> None:
    assert max(differences(tmp_path, (2, 1, 1), family)) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("family", ["mistral", "falcon-7b", "falcon-40b"])
def test_pipeline_parallel(tmp_path: Path, family: str) -> None:
    """Falcons tie the head, on the last stage, to the embedding, on the first."""
    assert max(differences(tmp_path, (1, 2, 1), family)) < 1e-6


@pytest.mark.slow
def test_falcon_in_three_dimensions(tmp_path: Path) -> None:
    assert max(differences(tmp_path, (2, 2, 2), "falcon-40b")) < 1e-6


@pytest.mark.slow
def test_vocabulary_that_does_not_divide(tmp_path: Path) -> None:
    """41 tokens on 2 ranks: one padding row, which must change nothing."""
    assert max(differences(tmp_path, (2, 1, 1), "falcon-40b", vocab_size=41)) < 1e-6


def expect_uneven_stages(engine: object) -> None:
    layers = sum(type(module).__name__ == "DecoderLayer" for module in engine._pipeline.modules())
    assert layers == (1 if engine.layout.is_last_stage else 3)


@pytest.mark.slow
def test_uneven_stages(tmp_path: Path) -> None:
    """A head that costs more than a layer, so that its stage has one layer and the first has three."""
    vocabulary = {"vocab_size": 600}
    differing = differences(tmp_path, (1, 2, 1), **vocabulary, sabotage=expect_uneven_stages)
    assert max(differing) < 2e-6  # a loss of 6.4 is exact to half of that


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recompute", "family"), [("full", "llama"), ("selective", "llama"), ("selective", "falcon-40b")]
)
def test_recompute(tmp_path: Path, recompute: str, family: str) -> None:
    assert max(differences(tmp_path, (2, 1, 1), family, recompute=recompute)) < 1e-6


def compile_without_a_compiler(engine: object) -> None:
    """In place of torch.compile's default backend, which needs a C++ compiler: only its tracing and autograd."""
    layers = [module for module in engine._pipeline.modules() if type(module).__name__ == "DecoderLayer"]
    assert all(layer._compiled_call_impl is not None for layer in layers)
    for layer in layers:
        layer.compile(backend="aot_eager", dynamic=False)


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "recompute"), [((1, 1, 1), "full"), ((2, 1, 1), "none")], ids=str)
def test_compile(tmp_path: Path, layout: tuple[int, int, int], recompute: str) -> None:
    changes = {"compile": True, "recompute": recompute}
    assert max(differences(tmp_path, layout, sabotage=compile_without_a_compiler, **changes)) < 1e-6


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler on CPUs")
def test_compile_to_kernels(tmp_path: Path) -> None:
    assert max(differences(tmp_path, (1, 1, 1), compile=True)) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "family"), [((2, 1, 1), "llama"), ((1, 2, 1), "falcon-7b")], ids=str)
def test_bf16_stays_near(tmp_path: Path, layout: tuple[int, int, int], family: str) -> None:
    loss, norm = differences(tmp_path, layout, family, dtype="bf16")
    assert loss < 0.02
    assert norm < 0.05


def untie_norms(engine: object) -> None:
    for name, parameter in engine.parameters().items():
        if "norm" in name:
            parameter.sequence_parallel = False


def unmark_shards(engine: object) -> None:
    for parameter in engine.parameters().values():
        parameter.tensor_model_parallel = False


def partition_messages(engine: object) -> None:
    """DeepSpeed's default: what passes between stages is split over the tensor group (DeepSpeed #4196)."""
    from components.training.engine import engine as module

    configure = module.deepspeed_config
    module.deepspeed_config = lambda *arguments: configure(*arguments) | {"pipeline": {}}


def untie_embedding(engine: object) -> None:
    engine._pipeline.tied_comms = {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sabotage", "layout", "family"),
    [
        (untie_norms, (2, 1, 1), "llama"),
        (unmark_shards, (2, 1, 1), "llama"),
        (untie_embedding, (1, 2, 1), "falcon-7b"),
        (partition_messages, (2, 2, 1), "llama"),
    ],
)
def test_these_tests_would_notice(
    tmp_path: Path, sabotage: Callable, layout: tuple[int, int, int], family: str
) -> None:
    """Easy to overlook: gradients of norms or tied weights not summed over a group, shards not counted in the norm.

    And DeepSpeed's partitioned messages between stages, which know nothing of sequence parallelism.
    """
    assert max(differences(tmp_path, layout, family, sabotage=sabotage)) > 1e-5
