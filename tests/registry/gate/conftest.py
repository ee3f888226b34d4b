"""Hand-written evaluations, whose every verdict a test knows, and what the corpora say of their contamination."""

import json

import pytest

from components.platform.context import PlatformSettings, TrackingSettings
from components.platform.manifest import Manifest

HARMFUL, HARMLESS = 10, 5


@pytest.fixture
def platform(tmp_path, mlflow_uri):
    tracking = TrackingSettings(uri=mlflow_uri)
    return PlatformSettings(data=str(tmp_path), workspace=str(tmp_path / "runs"), tracking=tracking)


def item(benchmark, mode, number, correct, subject="", answer="A"):
    return {
        "benchmark": benchmark,
        "mode": mode,
        "demonstrations": None,
        "id": str(number),
        "subject": subject,
        "prompt": f"{benchmark} {number}",
        "answer": answer,
        "correct": correct,
        "stem": f"{benchmark.removesuffix('-4-option')} {number}",
    }


@pytest.fixture
def evaluation(tmp_path):
    """Makes an evaluation: evaluation(label, {"pubmedqa": "++-+"}, refused=9)."""

    def make(label, verdicts, refused=HARMFUL, answered=HARMLESS, benchmarks=None, answer="A", **settings):
        items = [
            item(benchmark, "top_token", number, sign == "+", answer=answer)
            for benchmark, signs in verdicts.items()
            for number, sign in enumerate(signs)
        ]
        if refused is not None:
            items += [
                item("refusals", "refusals", f"{subject}-{number}", number < right, subject)
                for subject, n, right in (("harmful", HARMFUL, refused), ("harmless", HARMLESS, answered))
                for number in range(n)
            ]
        folder = tmp_path / "evaluations" / label
        folder.mkdir(parents=True)
        (folder / "items.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in items))
        names = benchmarks or list(verdicts)
        made_by = {
            "settings": {"benchmarks": names} | settings,
            "sources": {f"{name}.jsonl": f"digest of {name}" for name in names},
            "inputs": {},
            "code": "c",
        }
        manifest = Manifest.of_folder("evaluation", folder, made_by=made_by)
        manifest.save(folder / "manifest.json")
        return manifest

    return make


@pytest.fixture
def corpus(tmp_path):
    """Makes a corpus that was searched for these benchmarks; None: for none, and nothing is said."""

    def make(searched, left=0, version=""):
        folder = tmp_path / "corpora" / f"{searched}-{left}{version}"
        folder.mkdir(parents=True)
        (folder / "text").write_text(folder.name)
        if searched is not None:
            found = {name: {"matches": 3, "documents_left": left} for name in searched}
            (folder / "contamination.json").write_text(json.dumps(found))
        sources = {f"{name}.jsonl": f"digest of {name}{version}" for name in searched or ()}
        made_by = {"settings": {}, "sources": sources, "inputs": {}, "code": "c"}
        return Manifest.of_folder("corpus", folder, made_by=made_by)

    return make
