"""Selective recomputation: what is large but cheap to make is made again in the backward pass, and not kept for it.

Korthikanti et al. 2022, §5, choose by bytes per FLOP. They drop the attention scores, which flash attention never
keeps; what is then left to drop are the norms, the sequence gathered from the tensor group, and the MLP's activation.
No matrix product is made again, as full recomputation does.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

_active: SelectiveRecompute | None = None


def recomputed(function: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """function(*inputs); within `SelectiveRecompute`, neither its result nor anything inside it is kept.

    Torch's `checkpoint` alone keeps the result: the matrix product that it goes into saves it.
    """
    return function(*inputs) if _active is None else _active.run(function, inputs)


class SelectiveRecompute(saved_tensors_hooks):
    """The context of a forward pass in which `recomputed` is heeded."""

    def __init__(self) -> None:
        super().__init__(self._pack, _unpack)
        self._results: list[_Result] = []

    def __enter__(self) -> None:
        global _active
        _active = self
        super().__enter__()

    def __exit__(self, *error: object) -> None:
        global _active
        _active = None
        super().__exit__(*error)

    def run(self, function: Callable[..., Tensor], inputs: tuple[Any, ...]) -> Tensor:
        """`recomputed`; backward passes through the function by torch's `checkpoint`."""
        output = checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
        self._results.append(_Result(output, function, inputs))
        return output

    def _pack(self, tensor: Tensor) -> Tensor | _View:
        """What autograd keeps in place of `tensor`."""
        result = next((result for result in self._results if result.holds(tensor)), None)
        if result is None:
            return tensor
        result.uses += 1
        return _View(result, tensor.size(), tensor.stride(), tensor.storage_offset())


class _Result:
    """A result that is not kept, and how to make it again."""

    def __init__(self, output: Tensor, function: Callable[..., Tensor], inputs: tuple[Any, ...]) -> None:
        self.uses = 0
        self._function = function
        self._inputs = [i.detach() if isinstance(i, Tensor) else i for i in inputs]
        # Weak: once the forward pass has dropped the result, another tensor may lie at its address.
        self._output = weakref.ref(output)
        self._address = output.untyped_storage().data_ptr()
        self._again: Tensor | None = None

    def holds(self, tensor: Tensor) -> bool:
        """Whether `tensor` is (a view of) this result."""
        return self._output() is not None and tensor.untyped_storage().data_ptr() == self._address

    def again(self) -> Tensor:
        """The result, until the last of its uses in the backward pass."""
        if self._again is None:
            with torch.no_grad():
                self._again = self._function(*self._inputs)
        output, self.uses = self._again, self.uses - 1
        if self.uses == 0:
            self._again = None
        return output


@dataclass(frozen=True)
class _View:
    """A saved tensor that is (a view of) a result."""

    result: _Result
    size: torch.Size
    stride: tuple[int, ...]
    offset: int


def _unpack(saved: Tensor | _View) -> Tensor:
    if isinstance(saved, Tensor):
        return saved
    return saved.result.again().as_strided(saved.size, saved.stride, saved.offset)
