"""The optimizer state of this rank, as plain tensors.

ZeRO-1 (Rajbhandari et al. 2020) keeps, on each data-parallel rank, a slice of the float32 weights and Adam moments.
DeepSpeed holds them in one of two classes, depending on the training type; this is all that differs between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from deepspeed.runtime.bf16_optimizer import BF16_Optimizer
from deepspeed.runtime.utils import all_gather_dp_groups
from torch import Tensor

MOMENTS = ("exp_avg", "exp_avg_sq")


def optimizer_state(optimizer: Any) -> dict[str, Tensor]:
    """Float32 weights, Adam moments and step counts of this rank's slice, by name; views, not copies."""
    state: dict[str, Tensor] = {}
    for index, master in enumerate(_masters(optimizer)):
        adam = _adam_state(optimizer, master)
        state[f"group{index}.master"] = master.detach()
        state[f"group{index}.step"] = adam["step"].reshape(1)
        state |= {f"group{index}.{name}": adam[name] for name in MOMENTS}
    return state


@torch.no_grad()
def load_optimizer_state(optimizer: Any, state: dict[str, Tensor]) -> None:
    """Take over what `optimizer_state` returned, and rebuild the model's weights from it.

    Every rank must call it: the weights are gathered from the data-parallel group.
    """
    for index, master in enumerate(_masters(optimizer)):
        master.copy_(state[f"group{index}.master"])
        adam = _adam_state(optimizer, master)
        adam["step"].copy_(state[f"group{index}.step"].squeeze())
        for name in MOMENTS:
            adam[name].copy_(state[f"group{index}.{name}"])
    if isinstance(optimizer, BF16_Optimizer):
        optimizer.update_lp_params()
        return
    for own, master in zip(_own_slices(optimizer), _masters(optimizer), strict=True):
        own.copy_(master)
    all_gather_dp_groups(
        groups_flat=optimizer.bit16_groups_flat,
        partitioned_param_groups=optimizer.parallel_partitioned_bit16_groups,
        dp_process_group=optimizer.real_dp_process_group,
        start_alignment_factor=optimizer.nccl_start_alignment_factor,
        allgather_bucket_size=optimizer.allgather_bucket_size,
    )


def _masters(optimizer: Any) -> list[Tensor]:
    is_bf16 = isinstance(optimizer, BF16_Optimizer)
    return optimizer.fp32_groups_flat_partition if is_bf16 else optimizer.single_partition_of_fp32_groups


def _own_slices(optimizer: Any) -> Iterator[Tensor]:
    for index, slices in enumerate(optimizer.parallel_partitioned_bit16_groups):
        yield slices[optimizer.real_dp_process_group[index].rank()]


def _adam_state(optimizer: Any, master: Tensor) -> dict[str, Tensor]:
    """Adam's state of one slice; created as Adam would at its first step if it has not taken one."""
    state = optimizer.optimizer.state[master]
    if not state:
        state["step"] = torch.zeros((), dtype=torch.float32)
        state |= {name: torch.zeros_like(master) for name in MOMENTS}
    return state
