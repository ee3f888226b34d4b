"""What ZeRO-1 lets this rank own of each parameter, as plain tensors.

ZeRO-1 (Rajbhandari et al. 2020) flattens the parameters of an optimizer group one behind the other and keeps, on each
data-parallel rank, an equal slice of the float32 weights and Adam moments. DeepSpeed holds the slices in one of two
classes, depending on the training type; this is all that differs between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from deepspeed.runtime.bf16_optimizer import BF16_Optimizer
from deepspeed.runtime.utils import all_gather_dp_groups
from torch import Tensor, nn

MASTER, MOMENTS = "master", ("exp_avg", "exp_avg_sq")


def owned_part(optimizer: Any, parameter: nn.Parameter) -> tuple[int, dict[str, Tensor]] | None:
    """This rank's part of the optimizer state of a parameter; None if it owns none of it.

    Returns:
        Where the part begins, in elements of the flattened parameter; and float32 weights and Adam moments as flat
        views of the optimizer's memory.
    """
    mapping = parameter._hp_mapping  # DeepSpeed's own record, which its universal checkpoints are made from
    if mapping is None:
        return None
    address = mapping.hp_fragment_address
    master = _masters(optimizer)[mapping.param_group_index]
    adam = _adam_state(optimizer, master)
    whole = {MASTER: master.detach()} | {name: adam[name] for name in MOMENTS}
    return mapping.lp_fragment_address.start, {
        kind: tensor.narrow(0, address.start, address.numel) for kind, tensor in whole.items()
    }


def step_count(optimizer: Any) -> int:
    """Steps that Adam has taken: the same number for all parameters."""
    return int(_adam_state(optimizer, _masters(optimizer)[0])["step"])


@torch.no_grad()
def continue_from_masters(optimizer: Any, step: int) -> None:
    """Go on after `step` steps from float32 weights and moments that were filled in: rebuild the model's weights.

    Every rank must call it: the weights are gathered from the data-parallel group.
    """
    for master in _masters(optimizer):
        _adam_state(optimizer, master)["step"].fill_(step)
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
