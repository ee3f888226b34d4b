"""How a model is cut into pipeline stages."""

from __future__ import annotations

from dataclasses import dataclass

from components.training.parallel.balance import head_cost, layers_per_stage
from components.training.planner.run import PlannedRun


@dataclass(frozen=True)
class Stage:
    """One pipeline stage, as one of its GPUs holds it.

    Attributes:
        index: its place in the pipeline, from 0.
        layers: its decoder layers.
        parameters: parameters on one GPU: matrices are split over the tensor group, norms are not.
        in_flight: micro-batches whose activations it holds at once, at most.
    """

    index: int
    layers: int
    parameters: int
    in_flight: int
    is_first: bool
    is_last: bool


def cut_stages(run: PlannedRun) -> list[Stage]:
    """All stages of a run.

    With 1F1B (Narayanan et al. 2021), stage i of p holds at most p - i micro-batches.
    """
    count = run.layout.pipeline_parallel_size
    sizes = run.sizes
    head = head_cost(
        sizes.vocab_size * sizes.hidden_size, sizes.layer_matrix_parameters, sizes.query_width, run.sequence_length
    )
    return [
        Stage(
            index=index,
            layers=layers,
            parameters=_parameters(run, layers, index == 0, index == count - 1),
            in_flight=min(count - index, run.micro_batches),
            is_first=index == 0,
            is_last=index == count - 1,
        )
        for index, layers in enumerate(layers_per_stage(sizes.num_hidden_layers, count, head))
    ]


def _parameters(run: PlannedRun, layers: int, is_first: bool, is_last: bool) -> int:
    sizes, tensor = run.sizes, run.layout.tensor_parallel_size
    table = run.padded_vocab_size * sizes.hidden_size // tensor
    parameters = layers * (sizes.layer_matrix_parameters // tensor + sizes.layer.norms * sizes.norm_parameters)
    if is_first:
        parameters += table
    if is_last:
        shares_table = is_first and sizes.tied_embeddings
        parameters += sizes.norm_parameters + (0 if shares_table else table)
    return parameters
