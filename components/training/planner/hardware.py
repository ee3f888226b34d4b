"""GPUs and their links: the data sheets' figures, and what part of them a run reaches."""

from __future__ import annotations

from functools import cache
from importlib import resources

import yaml
from pydantic import Field, PositiveFloat

from components.platform.errors import SettingsError
from components.platform.settings import Settings

GPUS_PER_NODE = 8
GIB, GB, TERA = 2**30, 1e9, 1e12
BITS_PER_BYTE = 8

DEFAULT_HARDWARE = "a100-80gb"  # Meditron's


class Fractions(Settings):
    """Achieved share of each peak, all between 0 and 1."""

    matmul: PositiveFloat = Field(description="of the FLOP/s, in matrix products")
    attention: PositiveFloat = Field(description="of the FLOP/s, in flash attention")
    memory: PositiveFloat = Field(description="of the memory bandwidth, in element-wise operations")
    nvlink: PositiveFloat = Field(description="of NVLink's bandwidth, in collectives")
    network: PositiveFloat = Field(description="of the network's bandwidth")


class Hardware(Settings):
    """One kind of GPU in nodes of eight that are joined by NVLink inside and by a network outside."""

    name: str
    label: str = Field(description="part of the Kubernetes label nvidia.com/gpu.product")
    generation: str = Field(description="microarchitecture, which the achieved shares belong to")
    memory_gib: PositiveFloat = Field(description="memory that CUDA reports")
    bf16_tflops: PositiveFloat = Field(description="dense peak in bfloat16")
    fp32_tflops: PositiveFloat = Field(description="peak in float32 without TF32, as PyTorch multiplies by default")
    memory_gb_per_second: PositiveFloat = Field(description="bandwidth of the GPU's memory")
    nvlink_gb_per_second: PositiveFloat = Field(description="NVLink of one GPU, one direction")
    network_gbits_per_node: PositiveFloat = Field(description="all network adapters of a node, one direction")
    watts: PositiveFloat = Field(description="thermal design power of one GPU")
    fractions: Fractions

    @property
    def memory_bytes(self) -> float:
        return self.memory_gib * GIB

    def peak_flops(self, dtype: str) -> float:
        """FLOP/s of one GPU in "bf16" or "fp32"."""
        return (self.bf16_tflops if dtype == "bf16" else self.fp32_tflops) * TERA

    @property
    def achieved_memory_bandwidth(self) -> float:
        """Bytes/s of one GPU in element-wise operations."""
        return self.memory_gb_per_second * GB * self.fractions.memory

    @property
    def achieved_nvlink(self) -> float:
        """Bytes/s that one GPU sends to the others of its node."""
        return self.nvlink_gb_per_second * GB * self.fractions.nvlink

    @property
    def achieved_network_per_node(self) -> float:
        """Bytes/s that the GPUs of a node send to other nodes, together."""
        return self.network_gbits_per_node * GB / BITS_PER_BYTE * self.fractions.network


def load_hardware(name: str, network_gbits_per_node: float | None = None) -> Hardware:
    """One of the GPUs in hardware.yaml, with another network if one is given.

    Raises:
        SettingsError: there is no such GPU.
    """
    catalogue = _catalogue()
    if name not in catalogue:
        raise SettingsError(f"no hardware {name!r}; known are {', '.join(sorted(catalogue))}")
    if network_gbits_per_node is None:
        return catalogue[name]
    return catalogue[name].model_copy(update={"network_gbits_per_node": network_gbits_per_node})


def hardware_of_label(product: str | None) -> str:
    """The name of the GPU in a label such as `NVIDIA-A100-SXM4-80GB`; the default when it names none that is known."""
    for name, hardware in _catalogue().items():
        if product and hardware.label in product:
            return name
    return DEFAULT_HARDWARE


@cache
def _catalogue() -> dict[str, Hardware]:
    content = yaml.safe_load((resources.files(__package__) / "hardware.yaml").read_text(encoding="utf-8"))
    return {
        name: Hardware(name=name, fractions=content["generations"][gpu["generation"]], **gpu)
        for name, gpu in content["gpus"].items()
    }
