"""The parallel model trains exactly as Hugging Face's: same losses, gradients and gradient norms, in every layout.

Starting the ranks takes longer than ten steps of a tiny model, so those of a layout train many models, one by one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from components.training.batch_sizes import BatchSizes
from components.training.settings import PretrainSettings
from tests.training.ranks import run_ranks
from tests.training.tiny import FAMILIES, random_batch, tiny_settings, write_tiny_model

STEPS = 10
SETTINGS = {"sequence_length": 32, "global_batch_size": 8, "clip_grad": 0.5}
RAMP = {"rampup_batch_size": {"start": 4, "increment": 4, "samples": 20}}
GRADIENT_TOLERANCE = 5e-6
"""Of a tensor's largest element: float32 sums in another order."""

Layout = tuple[int, int, int]


@dataclass(frozen=True)
class Case:
    """One training run.

    Attributes:
        family: one of `FAMILIES`.
        model: changes to its sizes.
        settings: changes to the settings.
        separate: samples consist of documents that don't see each other.
        sabotage: what to do to the engine before it starts.
    """

    family: str = "llama"
    model: dict = field(default_factory=dict)
    settings: dict = field(default_factory=dict)
    separate: bool = False
    sabotage: Callable | None = None

    def settings_in(self, layout: Layout) -> PretrainSettings:
        return tiny_settings(layout, **SETTINGS | self.settings)

    def write_model(self, folder: Path) -> None:
        write_tiny_model(self.family, folder, **self.model)


@dataclass(frozen=True)
class Difference:
    """Largest differences from Hugging Face's run: of losses, of gradient norms, of any gradient in the first step."""

    loss: float
    norm: float
    gradient: float


def reference(case: Case, folder: Path) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """[steps, 2]: loss and gradient norm of Hugging Face's model with AdamW on the whole batch; first gradients."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-5)
    curve, gradients = [], {}
    sizes = BatchSizes(case.settings_in((1, 1, 1)))
    for step in range(STEPS):
        batch = random_batch(step, range(len(sizes.samples(step))), model.config.vocab_size, case.separate)
        logits = separate_logits(model, batch) if case.separate else model(batch.tokens).logits
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), batch.targets, reduction="none")
        loss = (losses * batch.mask).sum() / batch.mask.sum()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        gradients = gradients or {name: p.grad.clone() for name, p in model.named_parameters()}
        optimizer.step()
        optimizer.zero_grad()
        curve.append((loss.item(), norm.item()))
    return torch.tensor(curve), gradients


def separate_logits(model: torch.nn.Module, batch) -> torch.Tensor:
    """Logits of each document on its own, put together as they lie in the samples."""
    samples = []
    for tokens, positions in zip(batch.tokens, batch.positions, strict=True):
        starts = torch.nonzero(positions == 0).flatten()[1:].tolist()
        samples.append(torch.cat([model(document[None]).logits[0] for document in tokens.tensor_split(starts)]))
    return torch.stack(samples)


def train_all(folder: Path, layout: Layout, cases: Sequence[Case]) -> None:
    """Runs on each rank: all cases, in a parallel layout."""
    from components.training.process import start_process

    process = start_process(cases[0].settings_in(layout).layout, timeout_minutes=2)
    for index, case in enumerate(cases):
        train(folder / str(index), case, case.settings_in(layout), process)


def train(folder: Path, case: Case, settings: PretrainSettings, process) -> None:
    from components.training.convert import load_weights
    from components.training.engine.engine import Engine
    from components.training.models import read_config
    from components.training.verify_worker import whole_gradients

    layout, config = process.layout, read_config(folder)
    engine = Engine(config, settings, layout, process.groups)
    load_weights(folder, engine.parameters(), config, process)
    if case.sabotage:
        case.sabotage(engine)
    engine.start()

    def batches(step: int, count: int) -> list:
        first = layout.data_rank * 2 * count
        samples = [range(first + 2 * m, first + 2 * m + 2) for m in range(count)]
        return [random_batch(step, pair, config.vocab_size, case.separate) for pair in samples]

    curve = []
    for step in range(STEPS):
        needs_data = layout.is_first_stage or layout.is_last_stage
        count = len(BatchSizes(settings).samples(step)) // (2 * layout.data_parallel_size)
        own = batches(step, count) if needs_data else []
        before = engine.eval_step(own, count)
        outcome = engine.train_step(own, lr=1e-3, count=count)
        assert before == pytest.approx(outcome.loss, abs=1e-6)
        curve.append((outcome.loss, outcome.grad_norm))
        if step == 0:
            gradients = whole_gradients(engine, config, process)
            if gradients and layout.data_rank == 0:
                save_file(gradients, folder / f"gradients-{layout.pipeline_rank}")
    if process.is_main:
        (folder / "curve.json").write_text(json.dumps(curve))


def differences(tmp_path: Path, layout: Layout, *cases: Case) -> list[Difference]:
    """How much each run in `layout` differs from Hugging Face's."""
    for index, case in enumerate(cases):
        case.write_model(tmp_path / str(index))
    tensor, pipeline, data = layout
    run_ranks(tensor * pipeline * data, train_all, tmp_path, layout, cases)
    return [difference(tmp_path / str(index), case) for index, case in enumerate(cases)]


def difference(folder: Path, case: Case) -> Difference:
    expected, gradients = reference(case, folder)
    curve = torch.tensor(json.loads((folder / "curve.json").read_text()))
    ours = {name: gradient for path in folder.glob("gradients-*") for name, gradient in load_file(path).items()}
    assert ours.keys() == gradients.keys()
    loss, norm = (curve - expected).abs().amax(0).tolist()
    worst = max(((ours[name] - g).abs().max() / g.abs().max()).item() for name, g in gradients.items())
    print(f"{case.family}: loss {loss:.1e}, gradient norm {norm:.1e}, gradient {worst:.1e}")
    return Difference(loss, norm, worst)


def assert_equal(found: Sequence[Difference]) -> None:
    for difference in found:
        assert max(difference.loss, difference.norm) < 1e-6
        assert difference.gradient < GRADIENT_TOLERANCE


ALL_FEATURES = {"recompute": "selective"} | RAMP
FOUR_KEYS = {"mistral": {"num_key_value_heads": 4}, "falcon-40b": {"num_kv_heads": 4}}


def test_one_rank(tmp_path: Path) -> None:
    families = [Case(family) for family in FAMILIES]
    separate = [Case(family, separate=True) for family in ("llama", "mistral", "falcon-40b")]
    assert_equal(differences(tmp_path, (1, 1, 1), *families, *separate, Case(settings=RAMP)))


@pytest.mark.slow
def test_tensor_parallel(tmp_path: Path) -> None:
    """41 tokens on 2 ranks: one padding row, which must change nothing."""
    families = [Case(family) for family in FAMILIES if family != "falcon-7b"]  # whose one key/value head can't be split
    recompute = [
        Case(family, settings={"recompute": how})
        for family, how in (("llama", "full"), ("llama", "selective"), ("falcon-40b", "selective"))
    ]
    assert_equal(differences(tmp_path, (2, 1, 1), *families, *recompute, Case("falcon-40b", {"vocab_size": 41})))


@pytest.mark.slow
def test_pipeline_parallel(tmp_path: Path) -> None:
    """Falcons and some Llamas tie the head, on the last stage, to the embedding, on the first."""
    families = [Case(family) for family in FAMILIES]
    assert_equal(differences(tmp_path, (1, 2, 1), *families, Case("llama-tied", separate=True), Case(settings=RAMP)))


@pytest.mark.slow
def test_data_parallel(tmp_path: Path) -> None:
    assert_equal(differences(tmp_path, (1, 1, 2), *(Case(family) for family in FAMILIES), Case(settings=RAMP)))


@pytest.mark.slow
@pytest.mark.parametrize("layout", [(2, 2, 2), (4, 1, 2), (1, 4, 2)], ids=str)
def test_three_dimensions(tmp_path: Path, layout: Layout) -> None:
    """All families with all features."""
    cases = [
        Case(family, FOUR_KEYS.get(family, {}) if layout[0] == 4 else {}, ALL_FEATURES, separate=True)
        for family in ("llama-mha", "mistral", "falcon-40b")
    ]
    assert_equal(differences(tmp_path, layout, Case("llama-mha"), *cases))


def expect_uneven_stages(engine: object) -> None:
    layers = sum(type(module).__name__ == "DecoderLayer" for module in engine._pipeline.modules())
    assert layers == (1 if engine.layout.is_last_stage else 3)


@pytest.mark.slow
def test_uneven_stages(tmp_path: Path) -> None:
    """A head that costs more than a layer, so that its stage has one layer and the first has three."""
    (found,) = differences(tmp_path, (1, 2, 1), Case(model={"vocab_size": 600}, sabotage=expect_uneven_stages))
    assert max(found.loss, found.norm) < 2e-6  # a loss of 6.4 is exact to half of that
    assert found.gradient < GRADIENT_TOLERANCE


def compile_without_a_compiler(engine: object) -> None:
    """In place of torch.compile's default backend, which needs a C++ compiler: only its tracing and autograd."""
    layers = [module for module in engine._pipeline.modules() if type(module).__name__ == "DecoderLayer"]
    assert all(layer._compiled_call_impl is not None for layer in layers)
    for layer in layers:
        layer.compile(backend="aot_eager", dynamic=False)


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "recompute"), [((1, 1, 1), "full"), ((2, 1, 1), "none")], ids=str)
def test_compile(tmp_path: Path, layout: Layout, recompute: str) -> None:
    settings = {"compile": True, "recompute": recompute}
    assert_equal(differences(tmp_path, layout, Case(settings=settings, sabotage=compile_without_a_compiler)))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler on CPUs")
def test_compile_to_kernels(tmp_path: Path) -> None:
    assert_equal(differences(tmp_path, (1, 1, 1), Case(settings={"compile": True})))


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "family"), [((2, 1, 1), "llama"), ((1, 2, 1), "falcon-7b")], ids=str)
def test_bf16_stays_near(tmp_path: Path, layout: Layout, family: str) -> None:
    (found,) = differences(tmp_path, layout, Case(family, settings={"dtype": "bf16"}))
    assert found.loss < 0.02
    assert found.norm < 0.05


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
    ("layout", "cases"),
    [
        ((2, 1, 1), [Case(sabotage=untie_norms), Case(sabotage=unmark_shards)]),
        ((1, 2, 1), [Case("falcon-7b", sabotage=untie_embedding)]),
        ((2, 2, 1), [Case(sabotage=partition_messages)]),
    ],
    ids=["tensor", "pipeline", "both"],
)
def test_these_tests_would_notice(tmp_path: Path, layout: Layout, cases: list[Case]) -> None:
    """Easy to overlook: gradients of norms or tied weights not summed over a group, shards not counted in the norm.

    And DeepSpeed's partitioned messages between stages, which know nothing of sequence parallelism.
    """
    for found in differences(tmp_path, layout, *cases):
        assert max(found.loss, found.norm) > 1e-5
