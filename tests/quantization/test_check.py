"""What is refused before a model is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from transformers import LlamaConfig

from components.platform.errors import InputError, SettingsError
from components.quantization.check import check_model
from components.quantization.settings import QuantizationSettings
from tests.quantization.tiny_llama import as_artifact, tiny_llama

SMALL = QuantizationSettings(group_size=32, sequence_length=128)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    as_artifact(tiny_llama(), tmp_path)
    return tmp_path / "model"


def change_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_group_size_must_fit(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"group_size: 96 doesn't divide.* 128; use 32 or 64 or 128"):
        check_model(SMALL.model_copy(update={"group_size": 96}), folder)


def test_sequence_length_must_fit(folder: Path) -> None:
    with pytest.raises(SettingsError, match="512 is more than the model's 256 positions"):
        check_model(SMALL.model_copy(update={"sequence_length": 512}), folder)


def test_gemm_needs_outputs_in_eights(folder: Path) -> None:
    config = LlamaConfig(hidden_size=64, intermediate_size=64, num_attention_heads=16, num_key_value_heads=1)
    config.max_position_embeddings = 256
    config.save_pretrained(folder)
    with pytest.raises(SettingsError, match=r"formats: gemm packs 8 outputs in a word.* have 4; leave it out"):
        check_model(SMALL, folder)
    check_model(SMALL.model_copy(update={"formats": ("compressed-tensors",)}), folder)


def test_later_stages_need_compressed_tensors() -> None:
    with pytest.raises(ValidationError, match="compressed-tensors is missing"):
        QuantizationSettings(formats=("gemm",))


def test_quantized_model_is_refused(folder: Path) -> None:
    change_config(folder, quantization_config={"quant_method": "compressed-tensors", "format": "pack-quantized"})
    with pytest.raises(InputError, match="quantized already"):
        check_model(SMALL, folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_incomplete_folder_is_refused(folder: Path, name: str) -> None:
    check_model(SMALL, folder)
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name}: missing"):
        check_model(SMALL, folder)


def test_missing_part_of_the_weights_is_refused(tmp_path: Path, folder: Path) -> None:
    tiny_llama().save_pretrained(tmp_path / "parts", max_shard_size="2MB")
    for path in (tmp_path / "parts").iterdir():
        path.rename(folder / path.name)
    (folder / "model.safetensors").unlink()
    check_model(SMALL, folder)
    part = sorted(folder.glob("model-*.safetensors"))[1]
    part.unlink()
    with pytest.raises(InputError, match=f"{part.name}: missing"):
        check_model(SMALL, folder)
