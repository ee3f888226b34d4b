"""How many decoder layers each pipeline stage gets."""

from __future__ import annotations


def layers_per_stage(num_layers: int, stages: int, head_cost: float) -> list[int]:
    """Decoder layers of each stage, such that the slowest stage is as fast as can be.

    A pipeline goes at the pace of its slowest stage. The last stage also has the head, which for a large vocabulary
    costs as much as several layers, so it gets fewer of them. The others share the rest evenly, and the first ones get
    what is left over. (The first stage has the embedding, which multiplies nothing.)

    Args:
        num_layers: at least `stages`, for each gets one.
        head_cost: of the head, in decoder layers (`head_cost`).
    """
    if stages == 1:
        return [num_layers]

    def slowest(last: int) -> float:
        return max(-(-(num_layers - last) // (stages - 1)), last + head_cost)

    # Of equally good numbers the largest, up to an even share: fewer layers on the first stages, which hold the
    # activations of more micro-batches.
    last = min(range(num_layers // stages, 0, -1), key=slowest)
    whole, left_over = divmod(num_layers - last, stages - 1)
    return [whole + (index < left_over) for index in range(stages - 1)] + [last]


def head_cost(vocabulary_parameters: int, layer_parameters: int, attention_width: int, sequence_length: int) -> float:
    """FLOPs of the head by those of one decoder layer.

    Per token, 6 FLOPs for each parameter of a matrix, and 12 · width · sequence length for attention (PaLM: Chowdhery
    et al. 2022, appendix B).

    Args:
        vocabulary_parameters: of the head.
        layer_parameters: in the matrices of one decoder layer.
        attention_width: query heads · head_dim.
    """
    return 6 * vocabulary_parameters / (6 * layer_parameters + 12 * attention_width * sequence_length)
