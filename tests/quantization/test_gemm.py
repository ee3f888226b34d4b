"""The gemm format: bit for bit what compressed-tensors' own converter reads, and the same model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from compressed_tensors.entrypoints.convert import AutoAWQConverter, convert_checkpoint
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from components.platform.errors import InputError
from components.platform.weights import INDEX_NAME
from components.quantization import awq
from components.quantization.awq import load_model, quantize_by_rounding, save_compressed
from components.quantization.gemm import write_gemm
from tests.quantization.tiny_llama import tiny_llama

GROUP = 32


@pytest.fixture(scope="module", params=["one file", "many files"])
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model in bf16, quantized and saved as compressed-tensors; and the same in gemm."""
    folder = tmp_path_factory.mktemp("gemm")
    tiny_llama(torch.bfloat16).save_pretrained(folder / "original")
    model = load_model(folder / "original")
    quantize_by_rounding(model, GROUP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(awq, "SHARD_SIZE", "5GB" if request.param == "one file" else "30KB")
        save_compressed(model, folder / "packed")
    write_gemm(folder / "packed", folder / "gemm", GROUP)
    return folder / "packed", folder / "gemm"


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}


def test_converting_back_finds_no_difference(folders: tuple[Path, Path], tmp_path: Path) -> None:
    packed, gemm = folders
    convert_checkpoint(str(gemm), str(tmp_path), AutoAWQConverter.from_pretrained(str(gemm)))
    before, after = tensors(packed), tensors(tmp_path)
    assert before.keys() == after.keys()
    exact = [name for name, tensor in before.items() if not tensor.is_floating_point()]
    assert len(exact) == 3 * 4 * 7  # packed weight, zero point and shape of each layer
    assert [name for name in exact if not torch.equal(before[name], after[name])] == []
    # bf16 has fewer digits than float16 and the values here are not tiny, so these are exact as well
    others = before.keys() - set(exact)
    assert [name for name in others if not torch.equal(before[name].half(), after[name].half())] == []
    assert {after[name].dtype for name in others} == {torch.float16}


def test_tensors_are_laid_out_as_published(folders: tuple[Path, Path]) -> None:
    """Decoded here value by value, from the description alone."""
    packed, gemm = folders
    stored = tensors(gemm)
    name = "model.layers.1.mlp.down_proj"
    words, zeros, scales = (stored[f"{name}.{part}"] for part in ("qweight", "qzeros", "scales"))
    assert (words.shape, words.dtype) == ((384, 128 // 8), torch.int32)
    assert (zeros.shape, zeros.dtype) == ((384 // GROUP, 128 // 8), torch.int32)
    assert (scales.shape, scales.dtype) == ((384 // GROUP, 128), torch.float16)
    model = AutoModelForCausalLM.from_pretrained(packed)
    model(torch.tensor([[1]]))  # unpacks
    expected = model.get_submodule(name).weight

    def nibble(word: int, column: int) -> int:
        return word >> (4 * [0, 2, 4, 6, 1, 3, 5, 7].index(column % 8)) & 15

    for row, column in [(0, 0), (0, 1), (5, 9), (31, 14), (32, 14), (200, 127), (383, 66)]:
        value, zero = (
            nibble(int(table[index, column // 8]), column) for table, index in ((words, row), (zeros, row // GROUP))
        )
        weight = (value - zero) * float(scales[row // GROUP, column])
        assert float(expected[column, row]) == pytest.approx(weight, rel=2**-8)  # it is rounded to bf16


def test_the_dequantized_model_computes_the_same(folders: tuple[Path, Path], tmp_path: Path) -> None:
    packed, gemm = folders
    convert_checkpoint(str(gemm), str(tmp_path), AutoAWQConverter.from_pretrained(str(gemm)))
    tokens = torch.arange(40)[None]
    with torch.inference_mode():
        original, converted = (
            AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(tokens).logits
            for folder in (packed, tmp_path)
        )
    # Scales are cast to float32 from bf16 on one side and from float16 on the other, both without a loss
    torch.testing.assert_close(converted, original, rtol=1e-3, atol=1e-5)
    assert original.std() > 0.01


def test_config_says_what_autoawq_would(folders: tuple[Path, Path]) -> None:
    packed, gemm = folders
    config = json.loads((gemm / "config.json").read_text())
    assert config["quantization_config"] == {
        "quant_method": "awq",
        "bits": 4,
        "group_size": GROUP,
        "zero_point": True,
        "version": "gemm",
        "modules_to_not_convert": None,
    }
    assert AutoConfig.from_pretrained(gemm).dtype == torch.float16
    same = json.loads((packed / "config.json").read_text())
    different = {key for key in config.keys() | same.keys() if config.get(key) != same.get(key)}
    assert different == {"quantization_config", "dtype"}


def test_index_names_every_tensor(folders: tuple[Path, Path]) -> None:
    _, gemm = folders
    files = sorted(gemm.glob("*.safetensors"))
    if len(files) == 1:
        assert not (gemm / INDEX_NAME).exists()
        return
    index = json.loads((gemm / INDEX_NAME).read_text())
    assert len(files) > 5
    assert index["weight_map"] == {name: path.name for path in files for name in load_file(path)}
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in tensors(gemm).values())


@pytest.mark.parametrize(("factor", "message"), [(1e-9, "too small for float16"), (1e7, "float16 can't hold")])
def test_what_float16_cannot_hold_is_refused(tmp_path: Path, factor: float, message: str) -> None:
    model = tiny_llama()
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight *= factor
    model.save_pretrained(tmp_path / "original")
    model = load_model(tmp_path / "original")
    quantize_by_rounding(model, GROUP)
    save_compressed(model, tmp_path / "packed")
    with pytest.raises(InputError, match=message):
        write_gemm(tmp_path / "packed", tmp_path / "gemm", GROUP)
