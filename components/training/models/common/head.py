"""Hidden states → logits, with a weight of its own or with the embedding's."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor
from torch.nn import functional

from components.training.parallel.layers import ColumnParallelLinear, VocabParallelEmbedding
from components.training.parallel.mappings import gather_from_sequence_region


class Head(ColumnParallelLinear):
    """A head with a weight of its own: [sequence / TP, batch, hidden] → `vocab_parallel_logits`."""

    def __init__(self, hidden_size: int, vocab_size: int, group: dist.ProcessGroup) -> None:
        super().__init__(hidden_size, padded_vocab_size(vocab_size, group.size()), group)
        self.vocab_size, self.group = vocab_size, group

    def forward(self, x: Tensor) -> Tensor:
        return vocab_parallel_logits(x, self.weight, self.vocab_size, self.group)


def tied_head(embedding: VocabParallelEmbedding, x: Tensor, vocab_size: int) -> Tensor:
    """The head of a model with `tie_word_embeddings`: the embedding table read the other way."""
    return vocab_parallel_logits(x, embedding.weight, vocab_size, embedding.group)


def vocab_parallel_logits(x: Tensor, weight: Tensor, vocab_size: int, group: dist.ProcessGroup) -> Tensor:
    """Logits [sequence, batch, vocabulary / TP].

    The vocabulary is padded to a multiple of the group size. The padding rows are not tokens: their logits are -inf,
    so no probability goes to them and the loss is that of the unpadded model.
    """
    logits = functional.linear(gather_from_sequence_region(x, group), weight)
    rows = weight.shape[0]
    token_rows = min(max(vocab_size - group.rank() * rows, 0), rows)
    if token_rows < rows:
        logits[..., token_rows:] = float("-inf")
    return logits


def padded_vocab_size(vocab_size: int, tensor_parallel_size: int) -> int:
    """The next multiple of the tensor-parallel size, so that each rank holds the same number of rows."""
    return -(-vocab_size // tensor_parallel_size) * tensor_parallel_size
