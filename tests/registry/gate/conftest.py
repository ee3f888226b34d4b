"""Hand-written evaluations, whose every verdict a test knows."""

import json

import pytest

from components.platform.context import PlatformSettings, TrackingSettings
from components.platform.manifest import Manifest

REFUSED = {"harmful": 10, "harmless": 5}


@pytest.fixture
def platform(tmp_path, mlflow_uri):
    tracking = TrackingSettings(uri=mlflow_uri)
    return PlatformSettings(data=str(tmp_path), workspace=str(tmp_path / "runs"), tracking=tracking)


def item(benchmark, mode, number, correct, subject="", prompt=None):
    return {
        "benchmark": benchmark,
        "mode": mode,
        "demonstrations": None,
        "id": str(number),
        "subject": subject,
        "prompt": prompt or f"{benchmark} {number}",
        "correct": correct,
    }


@pytest.fixture
def evaluation(tmp_path):
    """Makes an evaluation: evaluation(label, {"pubmedqa": "++-+"}, refused=9)."""

    def make(label, verdicts, refused=10, benchmarks=None, accuracy=None):
        items = [
            item(benchmark, "top_token", number, sign == "+")
            for benchmark, signs in verdicts.items()
            for number, sign in enumerate(signs)
        ]
        if refused is not None:
            items += [item("refusals", "refusals", f"h{number}", number < refused, "harmful") for number in range(10)]
            items += [item("refusals", "refusals", f"o{number}", True, "harmless") for number in range(5)]
        rows = [
            {
                "benchmark": benchmark,
                "mode": "top_token",
                "accuracy": signs.count("+") / len(signs) if accuracy is None else accuracy,
            }
            for benchmark, signs in verdicts.items()
        ]
        folder = tmp_path / "evaluations" / label
        folder.mkdir(parents=True)
        (folder / "items.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in items))
        (folder / "results.json").write_text(json.dumps(rows))
        settings = {"benchmarks": benchmarks or list(verdicts)}
        manifest = Manifest.of_folder("evaluation", folder, made_by={"settings": settings, "inputs": {}, "code": "c"})
        manifest.save(folder / "manifest.json")
        return manifest

    return make


@pytest.fixture
def corpus(tmp_path):
    """Makes a corpus that was searched for these benchmarks; None: for none."""

    def make(searched, dropped=3):
        folder = tmp_path / "corpora" / str(len(searched or ()))
        folder.mkdir(parents=True)
        ledger = [
            {"source": "a", "step": "read", "drops": {"broken": 7}},
            {"source": "a", "step": "decontaminate", "drops": {"contaminated_pubmedqa": dropped}},
        ]
        (folder / "ledger.json").write_text(json.dumps(ledger))
        settings = {"decontaminate": None if searched is None else {"benchmarks": searched}}
        return Manifest.of_folder("corpus", folder, made_by={"settings": settings, "inputs": {}, "code": "c"})

    return make
