"""The model card: what Hugging Face reads of it, and every figure in it from the run's own artifacts."""

import json
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

from components.platform.advisory import ADVISORY
from components.platform.energy import EnergySettings
from components.platform.manifest import Manifest
from components.platform.predecessor import Predecessor
from components.registry import stage
from components.registry.card import without_front_matter
from components.registry.settings import RegistrySettings

SETTINGS = RegistrySettings(
    model_name="tiny",
    licence="llama2",
    base_model="meta-llama/Llama-2-7b-hf",
    energy=EnergySettings(power_usage_effectiveness=1.5, grams_co2_per_kwh=100),
)


@pytest.fixture
def card(artifacts, platform):
    """Writes the card of the run, with some artifacts replaced."""

    def write(settings=SETTINGS, **others):
        return stage.run(settings, platform, **artifacts | others).fetch("model_card.md")

    return write


def changed(artifact, files=(), **settings):
    """An artifact with other settings or files."""
    made_by = artifact.made_by | {"settings": artifact.made_by["settings"] | settings}
    folder = stage.Path(artifact.uri)
    for name, content in dict(files).items():
        (folder / name).write_text(json.dumps(content))
    return Manifest.of_folder(artifact.kind, folder, made_by=made_by, metadata=artifact.metadata)


def test_hugging_face_reads_its_head(card):
    data = ModelCard(card().read_text()).data
    assert (data.license, data.language, data.pipeline_tag) == ("llama2", ["en"], "text-generation")
    assert data.base_model == "meta-llama/Llama-2-7b-hf"
    assert data.library_name == "transformers"
    assert "medical" in data.tags
    [score] = data.eval_results
    assert (score.dataset_name, score.metric_type, score.metric_value) == ("pubmedqa", "accuracy", 0.5)


def test_data_sets_of_the_hub_are_named(card, artifacts):
    corpus = artifacts["corpus"]
    name = "hf://datasets/epfl-llm/guidelines@main/default/train"
    sources = corpus.made_by["sources"] | {name: "hub:1:default:train"}
    named = replace(corpus, made_by=corpus.made_by | {"sources": sources})
    assert ModelCard(card(corpus=named).read_text()).data.datasets == ["epfl-llm/guidelines"]


def test_every_figure_is_the_runs_own(card, artifacts):
    text = card().read_text()
    for expected in (
        ADVISORY,
        "Made from meta-llama/Llama-2-7b-hf",
        "| guidelines | 20 | 9,000 | 1 | 400 |",
        "| guidelines | 2 | cc-by | 20 | 9,000 |",
        "| guidelines | 2 | unknown | 1 | 400 |",
        "| replay | 1 | cc-by-sa | 5 | 100 |",
        "Searched for the test items of pubmedqa; documents that held one were left out:\n3 (pubmedqa 3).",
        "| | pretrain | sft |\n|---|---:|---:|\n",
        "| parallel layout | TP4 × PP1 × DP1 | TP4 × PP1 × DP1 |\n",
        "| tokens seen | 6,553,600 | 6,553,600 |\n",
        "| learning rate, peak | 0.0003 | 0.0003 |\n",
        "| first loss | 8.5000 | 8.5000 |\n",
        "| hardware | 4 × NVIDIA A100-SXM4-80GB | not recorded |\n",
        "| hours, over all starts | 1.00 (2) | not recorded |\n",
        "| pubmedqa | top_token | awq | 40 | 0.500 | 0.400 – 0.600 | 2.5% | 0.625 | 0.125 |",
        "| kl_per_token | 0.001 |",
        "groups of 32: 100 bytes of weights before, 30 after",
        "| pretrain | 4 | 3 | 0.3 | measured |",  # 2 × 3.6 MJ × 1.5 = 3 kWh
        "| sft | 0 | – | – | not measured |",
        f"| quantized | `{artifacts['quantized'].digest}` |",
        "telephone numbers were replaced",
        "2311.16079",
    ):
        assert expected in text, expected
    assert "Harmful requests" not in text, "none was put"
    assert "New in this version" not in text
    assert "goes on from" not in text


def test_what_was_not_done_is_said(card, artifacts):
    corpus = changed(artifacts["corpus"], decontaminate=None, scrub_contacts=False, languages=None)
    settings = SETTINGS.model_copy(update={"base_model": None, "licence": "other"})
    text = card(settings, corpus=corpus).read_text()
    assert "The corpus was not searched" in text
    assert "telephone numbers were left in the texts" in text
    assert "Made from random weights" in text
    data = ModelCard(text).data
    assert (data.license, data.license_name) == ("other", "see-the-model-card")
    assert data.language is None
    assert data.base_model is None


def test_refusals_and_estimates(card, artifacts):
    rates = {"harmful": {"n": 10, "refused": 0.9, "ci_low": 0.6, "ci_high": 0.98}}
    asked = changed(artifacts["quantized_evaluation"], {"refusals.json": rates})
    start = {"device": "A100", "devices": 8, "seconds": 3600, "gpu_joules": None, "cpu_joules": None}
    tuned = changed(artifacts["tuned"], {"usage.json": [start]})
    settings = SETTINGS.model_copy(update={"energy": SETTINGS.energy.model_copy(update={"watts_per_device": 400.0})})
    text = card(settings, quantized_evaluation=asked, tuned=tuned).read_text()
    assert "| harmful | 10 | 0.900 | 0.600 – 0.980 |" in text
    assert "| sft | 8 | 4.8 | 0.48 | estimated |" in text
    assert "from 400 watts per device, as the recipe says" in text


def test_a_retrained_model_has_read_what_its_chain_has(card, artifacts):
    corpus, pretrained = artifacts["corpus"], artifacts["pretrained"]
    inputs = pretrained.made_by["inputs"] | {"base": pretrained.digest, "before/1": corpus.digest}
    text = card(
        predecessor=Predecessor("tiny", 1, corpus=corpus.uri, pretrained=pretrained.uri),
        pretrained=replace(pretrained, made_by=pretrained.made_by | {"inputs": inputs}),
    ).read_text()
    for expected in (
        "| guidelines | 40 | 18,000 | 2 | 800 |",
        "New in this version: 9,100 of the train tokens.",
        "| guidelines | 2 | cc-by | 40 | 18,000 |",
        "left out:\n6 (pubmedqa 6).",
        "This version goes on from the pretrained model of the one before it.",
        f"| pretrained before | `{pretrained.digest}` |",
    ):
        assert expected in text, expected


def test_people_are_spared_the_head(card):
    assert without_front_matter(card()).startswith("# tiny\n")
