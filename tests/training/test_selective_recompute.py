"""What is recomputed isn't kept, is made again as often as needed, and changes no gradient."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from components.training.models.common.recompute import SelectiveRecompute, recomputed


class Block:
    """Two matrices that read the same cheap result, as attention's three and the MLP's two do."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x, self.first, self.second = (
            torch.randn(8, 8, generator=generator, requires_grad=True, dtype=torch.float64) for _ in range(3)
        )
        self.calls = 0
        self.made: list[weakref.ref] = []

    def activation(self, x: Tensor) -> Tensor:
        self.calls += 1
        return functional.silu(x) * x.sigmoid()

    def forward(self) -> Tensor:
        a = recomputed(self.activation, self.x)
        self.made.append(weakref.ref(a))
        b = recomputed(self.activation, a @ self.first + a[:4].repeat(2, 1) @ self.second)
        self.made.append(weakref.ref(b))
        return (b @ self.second).sum()

    def gradients(self, loss: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(loss, (self.x, self.first, self.second)))


def test_gradients_are_the_same() -> None:
    plain, selective = Block(), Block()
    expected = plain.gradients(plain.forward())
    with SelectiveRecompute():
        loss = selective.forward()
    gc.collect()
    assert selective.calls == 2
    assert all(made() is None for made in selective.made)
    for ours, theirs in zip(selective.gradients(loss), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert selective.calls == 2 + 2 * 2  # once for the matrices that read it, once for its own gradient


def test_nothing_is_recomputed_outside_of_the_context() -> None:
    block = Block()
    with SelectiveRecompute():
        pass
    block.gradients(block.forward())
    assert block.calls == 2


def test_a_tensor_that_takes_the_place_of_a_dropped_result_is_kept() -> None:
    """The allocator reuses addresses: what lies where a result was is not that result."""
    memory = np.empty((8, 8), dtype=np.float32)

    def fill(value: float) -> Tensor:
        memory.fill(value)
        return torch.from_numpy(memory)

    weight = torch.ones(8, 8, requires_grad=True)
    with SelectiveRecompute():
        result = recomputed(fill, 1.0)
        address = result.data_ptr()
        del result
        other = fill(2.0)
        loss = (other @ weight).sum()
    assert other.data_ptr() == address
    assert torch.equal(torch.autograd.grad(loss, weight)[0], torch.full((8, 8), 16.0))
