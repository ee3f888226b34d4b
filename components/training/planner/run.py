"""The run that is planned: a model, a layout, batch sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from components.platform.errors import SettingsError
from components.training.models.common.config import layout_problems
from components.training.parallel.layout import ParallelLayout
from components.training.planner.sizes import ModelSizes
from components.training.settings import PretrainSettings, RecomputeKind

BYTES = {"bf16": 2, "fp32": 4}


@dataclass(frozen=True)
class PlannedRun:
    """All that a prediction depends on, but the hardware.

    Attributes:
        compiled: element-wise operations are fused (torch.compile on each block).
        recompute: what is made again in the backward pass. "selective": norms, what is gathered over the tensor group
            and the MLP's activation; "full": each decoder layer, of which only the input is kept.
    """

    sizes: ModelSizes
    layout: ParallelLayout
    sequence_length: int
    micro_batch_size: int
    global_batch_size: int
    train_iters: int
    dtype: Literal["bf16", "fp32"] = "bf16"
    recompute: RecomputeKind = "none"
    compiled: bool = False

    def __post_init__(self) -> None:
        """Raises SettingsError if the model or the batch doesn't divide."""
        if problems := self.problems():
            raise SettingsError(f"{self.layout}: " + "; ".join(problems))

    @classmethod
    def of_settings(
        cls, settings: PretrainSettings, sizes: ModelSizes, layout: ParallelLayout, compiled: bool
    ) -> PlannedRun:
        """The run of a recipe's `pretrain` section in `layout`.

        Raises:
            SettingsError: the model or the batch doesn't divide.
        """
        return cls(
            sizes=sizes,
            layout=layout,
            sequence_length=settings.sequence_length,
            micro_batch_size=settings.micro_batch_size,
            global_batch_size=settings.global_batch_size,
            train_iters=settings.train_iters,
            dtype=settings.dtype,
            recompute=settings.recompute,
            compiled=compiled,
        )

    def problems(self) -> list[str]:
        """Why this can't be trained; empty when it can."""
        problems = layout_problems(self.sizes, self.layout, self.sequence_length)
        together = self.micro_batch_size * self.layout.data_parallel_size
        if self.global_batch_size % together:
            problems.append(
                f"global_batch_size {self.global_batch_size} is not divisible by micro_batch_size "
                f"{self.micro_batch_size} × data_parallel_size {self.layout.data_parallel_size} = {together}"
            )
        return problems

    @property
    def micro_batches(self) -> int:
        """Micro-batches of one data-parallel rank per step."""
        return self.global_batch_size // (self.micro_batch_size * self.layout.data_parallel_size)

    @property
    def micro_batch_tokens(self) -> int:
        return self.micro_batch_size * self.sequence_length

    @property
    def step_tokens(self) -> int:
        """Tokens of one step over all ranks."""
        return self.global_batch_size * self.sequence_length

    @property
    def element_bytes(self) -> int:
        """Bytes of a weight or activation."""
        return BYTES[self.dtype]

    @property
    def padded_vocab_size(self) -> int:
        """The vocabulary, padded so that each rank of a tensor group holds the same number of rows."""
        tensor = self.layout.tensor_parallel_size
        return -(-self.sizes.vocab_size // tensor) * tensor
