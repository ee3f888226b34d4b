"""The format that AutoAWQ calls "gemm", in which meditron-70B-AWQ was published; vLLM loads it.

Of a layer that maps `in` to `out` features in groups of `g` inputs it holds

    qweight  int32    [in, out / 8]      4-bit values q, 0 to 15
    qzeros   int32    [in / g, out / 8]  zero points z, 0 to 15
    scales   float16  [in / g, out]      steps s; the weight is (q - z) · s

where a word holds eight neighbouring outputs, from its lowest bits up in the order of `OUTPUT_ORDER`. What is not
quantized is float16, which is what AutoAWQ's kernels compute in.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.platform.errors import InputError
from components.platform.progress import Progress
from components.platform.weights import INDEX_NAME, WeightFiles

if TYPE_CHECKING:
    from torch import Tensor

BITS = 4
COLUMNS_PER_WORD = 32 // BITS
OUTPUT_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)

CONFIG = "config.json"
PACKED = ".weight_packed"
COMPANIONS = (".weight_scale", ".weight_zero_point", ".weight_shape")


def write_gemm(source: Path, target: Path, group_size: int) -> None:
    """Convert a compressed-tensors model (4 bits, asymmetric, in groups), one file of weights after the other.

    Writes config and weights, no more: what else belongs to a model is the same in both formats.

    Raises:
        InputError: a value is too large for float16, or a scale too small.
    """
    from safetensors.torch import save_file

    target.mkdir(parents=True)
    config = json.loads((source / CONFIG).read_text(encoding="utf-8"))
    config |= {"dtype": "float16", "quantization_config": quantization_config(group_size)}
    config.pop("torch_dtype", None)  # an older name of dtype
    (target / CONFIG).write_text(json.dumps(config, indent=2), encoding="utf-8")

    names, written, total = defaultdict(list), {}, 0
    with WeightFiles(source) as weights:
        for name, file in weights.file_of.items():
            if not name.endswith(COMPANIONS):
                names[file].append(name)
    with Progress("gemm", len(names), "files") as progress:
        for file in sorted(names):
            with WeightFiles(source) as weights:  # opened anew, for what is open may stay in memory
                tensors = dict(_converted(names[file], weights))
            save_file(tensors, target / file, metadata={"format": "pt"})
            written |= dict.fromkeys(tensors, file)
            total += sum(tensor.nbytes for tensor in tensors.values())
            progress.update(1)
    if (source / INDEX_NAME).is_file():
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(written.items()))}
        (target / INDEX_NAME).write_text(json.dumps(index, indent=2), encoding="utf-8")


def quantization_config(group_size: int) -> dict[str, Any]:
    """What `config.json` says about the format."""
    return {
        "quant_method": "awq",
        "bits": BITS,
        "group_size": group_size,
        "zero_point": True,
        "version": "gemm",
        "modules_to_not_convert": None,
    }


def pack(values: Tensor) -> Tensor:
    """Eight 4-bit values a word.

    Args:
        values: 0 to 15, integers of shape [rows, columns]; columns are a multiple of 8.

    Returns:
        int32 [rows, columns / 8].
    """
    import torch

    words = values.to(torch.int32).unflatten(1, (-1, COLUMNS_PER_WORD))
    result = torch.zeros(words.shape[:2], dtype=torch.int32)
    for position, column in enumerate(OUTPUT_ORDER):
        result |= words[..., column] << (BITS * position)
    return result


def _converted(names: list[str], weights: WeightFiles) -> Iterator[tuple[str, Tensor]]:
    from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32

    source = weights.folder
    for name in names:
        if not name.endswith(PACKED):
            yield name, _half(name, weights.tensor(name), source)
            continue
        layer = name.removesuffix(PACKED)
        scale, zero_point, shape = (weights.tensor(layer + part) for part in COMPANIONS)
        scales = _half(layer, scale, source)
        if not scales.all():
            raise InputError(f"{source}: a scale of {layer} is too small for float16; leave out gemm")
        # compressed-tensors counts from -8 to 7
        offset = 2 ** (BITS - 1)
        values = unpack_from_int32(weights.tensor(name), BITS, shape) + offset
        zeros = unpack_from_int32(zero_point, BITS, scale.shape, packed_dim=0) + offset
        yield f"{layer}.qweight", pack(values.T)
        yield f"{layer}.qzeros", pack(zeros.T)
        yield f"{layer}.scales", scales.T.contiguous()


def _half(name: str, tensor: Tensor, source: Path) -> Tensor:
    result = tensor.half()
    if not result.isfinite().all():
        raise InputError(f"{source}: {name} has values that float16 can't hold; leave out gemm")
    return result
