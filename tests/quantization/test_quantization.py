"""The quantization stage on a tiny Llama, from artifacts to artifact."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from components.platform.context import PlatformSettings
from components.platform.manifest import Manifest
from components.quantization import stage, steps
from components.quantization.__main__ import main
from components.quantization.documents import draw_documents
from components.quantization.fidelity import Fidelity, compare, logits
from components.quantization.gate import QualityError
from components.quantization.settings import Gate, QuantizationSettings
from tests.quantization.tiny_llama import add_outliers, as_artifact, tiny_llama

SMALL = QuantizationSettings(
    group_size=32,
    calibration_documents=9,
    calibration_conversations=2,
    benchmarks=("pubmedqa",),
    validation_documents=9,
    sequence_length=128,
    gate=Gate(max_kl_per_token=0.002, min_top1_agreement=0.5, max_perplexity_increase=0.02),
)

pytestmark = pytest.mark.slow


def never(*_: object, **__: object) -> None:
    pytest.fail("done again")


@pytest.fixture
def outliers(tmp_path: Path) -> Path:
    """A model with outlier channels."""
    model = tiny_llama()
    add_outliers(model)
    as_artifact(model, tmp_path / "tuned")
    return tmp_path / "tuned" / "model"


def test_stage(tmp_path: Path, platform: PlatformSettings, corpus: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    source = as_artifact(tiny_llama(torch.bfloat16), tmp_path / "tuned")
    strict = SMALL.model_copy(update={"gate": SMALL.gate.model_copy(update={"max_kl_per_token": 1e-9})})

    # A model that fails the gate is not handed on, but what was made and measured is kept.
    with pytest.raises(QualityError, match=r"gate.max_kl_per_token is 1e-09, measured .* \(report: .*report.html\)"):
        stage.run(strict, platform, model=source, corpus=corpus)
    [folder] = (Path(platform.workspace) / "awq").iterdir()
    assert not (folder / "manifest.json").exists()
    assert "Quality gate: failed" in (folder / "report.html").read_text()

    # With a gate that lets it pass, it does, and nothing is done again.
    monkeypatch.setattr(stage, "quantize", never)
    artifact = stage.run(SMALL, platform, model=source, corpus=corpus)
    assert artifact.local() == folder
    assert "Quality gate: passed" in (folder / "report.html").read_text()
    assert artifact.kind == "awq"
    assert artifact.made_by["sources"].keys() == {
        "eval/pubmedqa/ori_pqal.json",
        "eval/pubmedqa/test_ground_truth.json",
    }
    assert {entry.path.split("/")[0] for entry in artifact.files} == {
        "model",
        "model-gemm",
        "quality.json",
        "layers.json",
        "report.html",
    }
    assert [path.name for path in folder.iterdir() if path.is_dir() and path.name.startswith(".")] == []
    # It can't be had by a recipe that asks for more, either.
    with pytest.raises(QualityError, match="measured"):
        stage.run(strict, platform, model=source, corpus=corpus)

    quality = json.loads((folder / "quality.json").read_text())
    assert artifact.metadata == quality
    assert 0 < quality["kl_per_token"] < 0.002
    assert 0.5 < quality["top1_agreement"] <= 1
    assert quality["perplexity_after"] == pytest.approx(quality["perplexity_before"], rel=0.02)
    assert quality["calibration_tokens"] > 9 * 32 + 2 * 90
    assert f"{quality['bytes_gemm']:,}" in (folder / "report.html").read_text()
    layers = json.loads((folder / "layers.json").read_text())
    assert len(layers) == 4 * 3  # under grouped-query attention v_proj doesn't scale o_proj
    assert all(0 < row["awq"] <= row["rounding"] for row in layers)

    # The layers' weights take 4 bits each, and 16 + 4 bits of scale and zero point per 32; the rest stays as it is.
    layers = sum(p.numel() for name, p in tiny_llama().named_parameters() if "proj" in name)
    saved = layers * (2 - 0.5 - 2.5 / 32)
    assert quality["bytes_before"] - quality["bytes_after"] == pytest.approx(saved, rel=0.01)
    assert quality["bytes_before"] - quality["bytes_gemm"] == pytest.approx(saved, rel=0.01)
    for name in ("model", "model-gemm"):
        same = [path.name for path in (Path(source.uri) / "model").glob("*token*")]
        for file in [*same, "chat_template.jinja", "generation_config.json"]:
            assert (folder / name / file).read_bytes() == (Path(source.uri) / "model" / file).read_bytes()
    assert json.loads((folder / "model-gemm" / "config.json").read_text())["quantization_config"]["version"] == "gemm"

    # Plain transformers loads it, and it computes what was measured.
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    assert tokenizer.apply_chat_template([{"role": "question", "content": "x"}], tokenize=False).startswith("<|im_")
    config = json.loads((folder / "model" / "config.json").read_text())
    assert config["quantization_config"]["format"] == "pack-quantized"
    original = AutoModelForCausalLM.from_pretrained(Path(source.uri) / "model").eval()
    loaded = AutoModelForCausalLM.from_pretrained(folder / "model").eval()
    samples = draw_documents(SMALL, corpus, "validation", SMALL.validation_documents, tokenizer)
    measured = compare(logits(original, samples, "a"), logits(loaded, samples, "b"), samples)
    assert measured == Fidelity(quality["kl_per_token"], quality["top1_agreement"], quality["perplexity_after"])


def test_awq_follows_a_model_with_outlier_channels_where_rounding_does_not(
    tmp_path: Path,
    platform: PlatformSettings,
    corpus: Manifest,
    outliers: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And a call that was interrupted goes on where it was; and one with little memory makes the same model."""
    folder = tmp_path / "awq"
    with monkeypatch.context() as patch:
        patch.setattr(stage, "write_gemm", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            stage.quantize(SMALL, platform, outliers, corpus, folder)
    with monkeypatch.context() as patch:
        patch.setattr(steps, "load_model", never)  # neither rounding nor AWQ
        stage.quantize(SMALL, platform, outliers, corpus, folder)
    quality = json.loads((folder / "quality.json").read_text())
    assert quality["kl_per_token"] < quality["rounding_kl_per_token"] / 3
    assert quality["top1_agreement"] > quality["rounding_top1_agreement"]

    # Again, with most of the weights on disk and the rest in memory, and no model that stays there
    loads = Loads()
    monkeypatch.setattr(steps, "memory_for_weights", lambda: 5_000_000)
    monkeypatch.setattr(steps, "load_model", loads.watching(steps.load_model))
    monkeypatch.setattr(steps, "load_packed", loads.watching(steps.load_packed))
    stage.quantize(SMALL, platform, outliers, corpus, tmp_path / "again")
    assert loads.places == [{"cpu", "meta"}, {"cpu"}, {"cpu", "meta"}, {"cpu"}]
    assert loads.alive == [0, 0, 0, 0]
    assert _bytes(tmp_path / "again") == _bytes(folder)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


class Loads:
    """Where the weights of each loaded model lie, and how many models loaded before it were still alive."""

    def __init__(self) -> None:
        self.places: list[set[str]] = []
        self.alive: list[int] = []
        self._models: list[weakref.ref[PreTrainedModel]] = []

    def watching(self, load: Callable[..., PreTrainedModel]) -> Callable[..., PreTrainedModel]:
        def watched(*arguments: object) -> PreTrainedModel:
            self.alive.append(sum(reference() is not None for reference in self._models))
            model = load(*arguments)
            self._models.append(weakref.ref(model))
            held = [getattr(m._parameters, "offloaded_values", m._parameters) for m in model.modules()]
            self.places.append(
                {tensor.device.type for of_module in held for tensor in of_module.values() if tensor is not None}
            )
            return model

        return watched


def _bytes(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_command_line(
    tmp_path: Path, platform: PlatformSettings, corpus: Manifest, capsys: pytest.CaptureFixture[str]
) -> None:
    as_artifact(tiny_llama(), tmp_path / "tuned").save(tmp_path / "tuned" / "manifest.json")
    corpus.save(tmp_path / "corpus" / "manifest.json")
    quantization = SMALL.model_copy(update={"formats": ("compressed-tensors",), "calibration_documents": 3})
    sections = {
        "platform": platform.model_dump(mode="json"),
        "quantization": quantization.model_dump(mode="json"),
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(sections))
    arguments = ["--recipe", str(tmp_path / "recipe.yaml"), "--model", str(tmp_path / "tuned")]
    main([*arguments, "--corpus", str(tmp_path / "corpus")])
    artifact = Manifest.load(capsys.readouterr().out.splitlines()[-1])
    assert artifact.kind == "awq"
    assert not any("gemm" in entry.path for entry in artifact.files)
    with pytest.raises(SystemExit, match="error: .*nothing.*no such manifest"):
        main([*arguments, "--corpus", str(tmp_path / "nothing")])
