"""The quantization stage on a tiny Llama, from artifacts to artifact."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from components.platform.context import PlatformSettings
from components.platform.errors import InputError, SettingsError
from components.platform.manifest import Manifest
from components.quantization import stage
from components.quantization.__main__ import main
from components.quantization.fidelity import Fidelity, compare, log_probabilities
from components.quantization.samples import draw_samples
from components.quantization.settings import QuantizationSettings, check_model
from tests.quantization.tiny_llama import add_outliers, as_artifact, tiny_llama

SMALL = QuantizationSettings(group_size=32, calibration_documents=12, validation_documents=9, sequence_length=64)


@pytest.mark.slow
def test_stage(tmp_path: Path, platform: PlatformSettings, corpus: Manifest) -> None:
    source = as_artifact(tiny_llama(torch.bfloat16), tmp_path / "tuned")
    artifact = stage.run(SMALL, platform, model=source, corpus=corpus)
    folder = artifact.local()

    quality = json.loads((folder / "quality.json").read_text())
    assert artifact.kind == "awq"
    assert artifact.metadata == quality
    assert 0 < quality["kl_per_token"] < 0.002
    assert 0.5 < quality["top1_agreement"] <= 1
    assert quality["perplexity_after"] == pytest.approx(quality["perplexity_before"], rel=0.02)
    assert quality["calibration_tokens"] > 12 * 32
    assert "KL divergence per token" in (folder / "report.html").read_text()

    # The layers' weights take 4 bits each, and 16 + 4 bits of scale and zero point per 32; the rest stays as it is.
    sizes = {path.stat().st_size for path in tmp_path.glob("**/model.safetensors")}
    assert sizes == {quality["bytes_before"], quality["bytes_after"]}
    layers = sum(p.numel() for name, p in tiny_llama().named_parameters() if "proj" in name)
    assert quality["bytes_before"] - quality["bytes_after"] == pytest.approx(layers * (2 - 0.5 - 2.5 / 32), rel=0.01)

    # Plain transformers loads it, and it computes what was measured.
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    assert tokenizer.apply_chat_template([{"role": "question", "content": "x"}], tokenize=False).startswith("<|im_")
    config = json.loads((folder / "model" / "config.json").read_text())
    assert config["quantization_config"]["format"] == "pack-quantized"
    original = AutoModelForCausalLM.from_pretrained(Path(source.uri) / "model").eval()
    loaded = AutoModelForCausalLM.from_pretrained(folder / "model").eval()
    samples = draw_samples(SMALL, corpus, "validation", SMALL.validation_documents, tokenizer)
    measured = compare(log_probabilities(original, samples), log_probabilities(loaded, samples), samples)
    assert measured == Fidelity(quality["kl_per_token"], quality["top1_agreement"], quality["perplexity_after"])
    same_tokenizer = [path.name for path in (Path(source.uri) / "model").glob("*token*")]
    for name in [*same_tokenizer, "chat_template.jinja", "generation_config.json"]:
        assert (folder / "model" / name).read_bytes() == (Path(source.uri) / "model" / name).read_bytes()


@pytest.mark.slow
def test_awq_follows_a_model_with_outlier_channels_where_rounding_does_not(tmp_path: Path, corpus: Manifest) -> None:
    model = tiny_llama()
    add_outliers(model)
    as_artifact(model, tmp_path / "tuned")
    quality = stage.quantize(SMALL, tmp_path / "tuned" / "model", corpus, tmp_path / "model")
    assert quality["kl_per_token"] < quality["rounding_kl_per_token"] / 3
    assert quality["top1_agreement"] > quality["rounding_top1_agreement"]

    again = stage.quantize(SMALL, tmp_path / "tuned" / "model", corpus, tmp_path / "again")
    assert again == quality
    assert _bytes(tmp_path / "again") == _bytes(tmp_path / "model")


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_group_size_must_fit(tmp_path: Path) -> None:
    as_artifact(tiny_llama(), tmp_path)
    with pytest.raises(SettingsError, match=r"group_size: 96 doesn't divide.* 128; use 32 or 64 or 128"):
        check_model(SMALL.model_copy(update={"group_size": 96}), tmp_path / "model")


def test_sequence_length_must_fit(tmp_path: Path) -> None:
    as_artifact(tiny_llama(), tmp_path)
    with pytest.raises(SettingsError, match="512 is more than the model's 256 positions"):
        check_model(SMALL.model_copy(update={"sequence_length": 512}), tmp_path / "model")


def test_quantized_model_is_refused(tmp_path: Path) -> None:
    as_artifact(tiny_llama(), tmp_path)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "compressed-tensors", "format": "pack-quantized"}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="quantized already"):
        check_model(SMALL, tmp_path / "model")


def test_folder_without_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json: missing"):
        check_model(SMALL, tmp_path)


@pytest.mark.slow
def test_command_line(tmp_path: Path, corpus: Manifest, capsys: pytest.CaptureFixture[str]) -> None:
    as_artifact(tiny_llama(), tmp_path / "tuned").save(tmp_path / "tuned" / "manifest.json")
    corpus.save(tmp_path / "corpus" / "manifest.json")
    sections = {
        "platform": {"data": "d", "workspace": str(tmp_path / "w"), "tracking": {"uri": "unused"}},
        "quantization": SMALL.model_dump(mode="json"),
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(sections))
    arguments = ["--recipe", str(tmp_path / "recipe.yaml"), "--model", str(tmp_path / "tuned")]
    main([*arguments, "--corpus", str(tmp_path / "corpus")])
    assert Manifest.load(capsys.readouterr().out.splitlines()[-1]).kind == "awq"
    with pytest.raises(SystemExit, match="error: .*nothing.*no such manifest"):
        main([*arguments, "--corpus", str(tmp_path / "nothing")])
