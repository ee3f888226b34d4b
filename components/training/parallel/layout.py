"""Which rank does what: the position of a process in the tensor × data × pipeline grid."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ParallelLayout:
    """Sizes of the three kinds of parallelism, and this process's place among them.

    Ranks run fastest over tensor parallelism, then data, then pipeline, so the ranks that talk most are neighbours:
    with tensor parallelism no larger than a node, its traffic stays on the node. DeepSpeed's
    `PipeModelDataParallelTopology` counts the same way.

    Raises:
        ValueError: a size is below 1, or the rank is outside the grid.
    """

    tensor_parallel_size: int
    pipeline_parallel_size: int
    data_parallel_size: int
    rank: int = 0

    def __post_init__(self) -> None:
        for name in ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank {self.rank} is outside a layout of {self.world_size} processes ({self})")

    def __str__(self) -> str:
        sizes = (self.tensor_parallel_size, self.pipeline_parallel_size, self.data_parallel_size)
        return "TP{} × PP{} × DP{}".format(*sizes)

    @property
    def world_size(self) -> int:
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size

    @property
    def tensor_rank(self) -> int:
        return self.rank % self.tensor_parallel_size

    @property
    def data_rank(self) -> int:
        return self.rank // self.tensor_parallel_size % self.data_parallel_size

    @property
    def pipeline_rank(self) -> int:
        return self.rank // (self.tensor_parallel_size * self.data_parallel_size)

    @property
    def is_first_stage(self) -> bool:
        return self.pipeline_rank == 0

    @property
    def is_last_stage(self) -> bool:
        return self.pipeline_rank == self.pipeline_parallel_size - 1

    def tensor_groups(self) -> list[list[int]]:
        """All sets of ranks that hold the shards of one set of layers."""
        size = self.tensor_parallel_size
        return [list(range(first, first + size)) for first in range(0, self.world_size, size)]

    def data_groups(self) -> list[list[int]]:
        """All sets of ranks that hold the same shard and see different samples."""
        tensor, stage = self.tensor_parallel_size, self.tensor_parallel_size * self.data_parallel_size
        return [
            list(range(first + shard, first + stage, tensor))
            for first in range(0, self.world_size, stage)
            for shard in range(tensor)
        ]
