"""Predicted speed against published figures: docs/planner.md has the same table.

One share of the peak per generation is fitted, each to the first figure of its hardware; all others are predictions.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from components.platform.energy import EnergyAssumptions, kilograms_co2, kilowatt_hours
from components.training.models.common.config import LayerTraits
from components.training.parallel.layout import ParallelLayout
from components.training.planner.compute import RECOMPUTE, Recompute, Workload
from components.training.planner.hardware import Hardware, load_hardware
from components.training.planner.plan import Plan, make_plan
from components.training.planner.run import PlannedRun
from components.training.planner.sizes import ModelSizes, published_sizes

TOLERANCE = 0.15
FITTED_WITHIN = 0.005

# torchtitan's selective checkpointing keeps every other matrix product and attention, and computes the rest again
SELECTIVE = Recompute(matmul=0.5, attention=0, elementwise=1, cheap=0)


def mpt(hidden_size: int, num_layers: int) -> ModelSizes:
    """MosaicML's GPT: layer norms, GELU, an MLP of four times the width, a tied head."""
    heads = hidden_size // 128
    return ModelSizes(
        hidden_size, num_layers, heads, heads, 128, 4 * hidden_size, 50432, 65536,
        LayerTraits(gated_mlp=False, norm="layer"), tied_embeddings=True,
    )  # fmt: skip


@dataclass(frozen=True)
class Published:
    """A published speed of data-parallel training with sharded weights, which hides its communication.

    What is compared is the time to compute alone.
    """

    name: str
    workload: Workload
    hardware: Hardware
    tokens_per_second_and_gpu: float

    @property
    def error(self) -> float:
        """Predicted over published, less 1."""
        return 1 / self.workload.model_seconds(self.hardware) / self.tokens_per_second_and_gpu - 1


A100, H100 = load_hardware("a100-80gb"), load_hardware("h100")
# torchtitan's H100s have HBM2e: 2.4 TB/s
H100_HBM2E = H100.model_copy(update={"memory_gb_per_second": 2400.0})
LLAMA_7B, LLAMA_70B, LLAMA3_8B = (published_sizes(name) for name in ("llama-2-7b", "llama-2-70b", "llama-3-8b"))
FULL = RECOMPUTE["full"]

FITTED = [
    Published("MosaicML 7B, A100", Workload(mpt(4096, 32), 2048, compiled=True), A100, 4641),
    Published("MosaicML 7B, H100", Workload(mpt(4096, 32), 2048, compiled=True), H100, 10643),
]
PREDICTED = [
    Published("MosaicML 70B, A100", Workload(mpt(8192, 80), 2048, recompute=FULL, compiled=True), A100, 410),
    Published("IBM 7B, A100", Workload(LLAMA_7B, 4096), A100, 3760),
    Published("IBM 70B, A100", Workload(LLAMA_70B, 4096, recompute=FULL), A100, 380),
    Published("torchtitan 8B, H100", Workload(LLAMA3_8B, 8192, recompute=SELECTIVE), H100_HBM2E, 5762),
    Published(
        "torchtitan 8B compiled, H100", Workload(LLAMA3_8B, 8192, recompute=SELECTIVE, compiled=True), H100_HBM2E, 6667
    ),
]


def meditron_70b() -> Plan:
    """As published: 16 nodes of 8 A100, each node with a single 200 Gbit/s adapter; no layer recomputed in full."""
    run = PlannedRun(LLAMA_70B, ParallelLayout(8, 8, 2), 4096, 2, 512, 22268)
    return make_plan(run, load_hardware("a100-80gb", network_gbits_per_node=200))


@pytest.mark.parametrize("figure", FITTED, ids=lambda figure: figure.name)
def test_fitted(figure: Published) -> None:
    assert abs(figure.error) < FITTED_WITHIN


@pytest.mark.parametrize("figure", PREDICTED, ids=lambda figure: figure.name)
def test_predicted(figure: Published) -> None:
    print(f"{figure.name}: {figure.error:+.1%}")
    assert abs(figure.error) < TOLERANCE


def test_meditron_70b_is_predicted() -> None:
    """40,200 tokens per second, 42.3% MFU (Chen et al. 2023); no constant is fitted to it."""
    plan = meditron_70b()
    print(f"{plan.tokens_per_second:,.0f} tokens/s, MFU {plan.mfu(with_attention=False):.1%}")
    assert plan.tokens_per_second == pytest.approx(40_200, rel=TOLERANCE)
    assert plan.mfu(with_attention=False) == pytest.approx(0.423, rel=TOLERANCE)
    assert plan.gpu_hours == pytest.approx(42_496, rel=TOLERANCE)
    assert plan.fits


def test_the_published_energy_follows_from_its_assumptions() -> None:
    """Meditron-70B's model card: 42,496 GPU-hours at 400 W, PUE 1.8 and 16 g/kWh are 486 kg of CO₂."""
    assumptions = EnergyAssumptions(power_usage_effectiveness=1.8, grams_co2_per_kwh=16)
    kwh = kilowatt_hours(42_496, watts=400, assumptions=assumptions)
    assert kwh == pytest.approx(30_597, abs=1)
    assert kilograms_co2(kwh, assumptions) == pytest.approx(486, rel=0.01)
