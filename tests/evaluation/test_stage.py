"""The whole stage: results, report, resumption, comparison."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from components.evaluation import __main__, results, stage
from components.evaluation.modes import top_token
from components.evaluation.results import Verdict
from components.evaluation.settings import EvaluationSettings
from components.platform.manifest import Manifest

SETTINGS = EvaluationSettings(max_items=20, batch_size=8)


@pytest.fixture
def evaluation(model, platform):
    return stage.run(SETTINGS, platform, model=model, label="tiny")


def test_results_add_up(evaluation):
    rows = evaluation.read_json("results.json")
    items = evaluation.read_jsonl("items.jsonl")
    assert [row["benchmark"] for row in rows] == ["pubmedqa", "medqa-4-option", "mmlu-medical"]
    for row in rows:
        own = [item for item in items if item["benchmark"] == row["benchmark"]]
        assert (row["mode"], row["model"], row["n"]) == ("top_token", "tiny", len(own))
        assert row["accuracy"] == sum(item["prediction"] == item["answer"] for item in own) / 20
        assert row["restricted_accuracy"] == sum(item["restricted_prediction"] == item["answer"] for item in own) / 20
        assert row["unparsed_rate"] == sum(item["prediction"] is None for item in own) / 20
        assert row["ci_low"] <= row["accuracy"] <= row["ci_high"]
        assert (row["shortened"], row["too_long"]) == (0, 0)
    mmlu = rows[2]
    assert set(mmlu["subjects"]) == {"anatomy", "virology"}
    assert sum(subject["n"] for subject in mmlu["subjects"].values()) == 20
    assert "nutrition" in mmlu["missing_subjects"]
    assert "anatomy" not in mmlu["missing_subjects"]
    assert evaluation.metadata["model"] == "tiny"
    assert evaluation.metadata["pubmedqa/accuracy"] == rows[0]["accuracy"]


def test_the_artifact_and_its_report(evaluation):
    assert [entry.path for entry in evaluation.files] == ["items.jsonl", "report.html", "results.json"]
    report = (evaluation.local() / "report.html").read_text()
    for text in ("Evaluation of tiny", "PubMedQA", "Meditron-7B", "74.4%", "95% interval", "<svg", "nutrition"):
        assert text in report


def test_a_second_run_finds_the_first_but_not_for_another_label(evaluation, model, platform, monkeypatch):
    monkeypatch.setattr(stage, "evaluate", lambda *_: pytest.fail("evaluated again"))
    assert stage.run(SETTINGS, platform, model=model, label="tiny").uri == evaluation.uri
    with pytest.raises(pytest.fail.Exception):
        stage.run(SETTINGS, platform, model=model, label="other")


def test_an_interrupted_run_goes_on_where_it_stopped(evaluation, model, platform, tmp_path, monkeypatch):
    expected = evaluation.read_jsonl("items.jsonl")
    asked = []

    def answer(items, engine):
        if len(asked) == 4:
            raise KeyboardInterrupt
        asked.append([item.key for item in items])
        return top_token.answer(items, engine)

    monkeypatch.setitem(stage.MODES, "top_token", answer)
    elsewhere = platform.model_copy(update={"workspace": str(tmp_path / "again")})
    with pytest.raises(KeyboardInterrupt):
        stage.run(SETTINGS, elsewhere, model=model, label="tiny")
    [partial] = (tmp_path / "again/evaluation").glob(f"*/{results.PARTIAL}")
    kept = partial.read_text()
    assert len(kept.splitlines()) == 32
    partial.write_text(kept[:-20])  # the last line is torn, as if the machine had gone down

    first, asked[:] = list(asked), []
    asked_before = {key for batch in first[:3] for key in batch}
    monkeypatch.setitem(
        stage.MODES,
        "top_token",
        lambda items, engine: asked.append([i.key for i in items]) or top_token.answer(items, engine),
    )
    again = stage.run(SETTINGS, elsewhere, model=model, label="tiny")
    assert asked[0] == first[3]  # the torn batch as a whole, so that it computes the same
    assert not asked_before & {key for batch in asked for key in batch}
    assert again.read_jsonl("items.jsonl") == expected
    assert again.digest == evaluation.digest
    assert not partial.exists()


def test_batch_size_changes_nothing(evaluation, model, platform):
    one = stage.run(SETTINGS.model_copy(update={"batch_size": 1}), platform, model=model, label="tiny")
    for a, b in zip(evaluation.read_jsonl("items.jsonl"), one.read_jsonl("items.jsonl"), strict=True):
        assert (a["id"], a["prompt"], a["prediction"]) == (b["id"], b["prompt"], b["prediction"])
        assert a["choice_logprobs"] == pytest.approx(b["choice_logprobs"], abs=1e-4)


def test_comparison_with_a_baseline(evaluation, model, platform):
    again = stage.run(SETTINGS, platform, model=model, label="again", baseline=evaluation)
    for row in again.read_json("results.json"):
        assert row["versus"] == {"model": "tiny", "n": 20, "only_this_right": 0, "only_that_right": 0, "p_value": 1.0}
    assert "Compared with tiny" in (again.local() / "report.html").read_text()


def verdict(number: int, correct: bool) -> Verdict:
    return Verdict("b", str(number), "", "", False, True, "", "A", "A" if correct else "B", correct, "A", {})


def test_comparison_pairs_by_id():
    ours = [verdict(n, correct=True) for n in range(10)]
    theirs = [verdict(n, correct=n < 4) for n in reversed(range(2, 20))]
    assert results.compare(ours, theirs, "other") == {
        "model": "other",
        "n": 8,
        "only_this_right": 6,
        "only_that_right": 0,
        "p_value": 2 / 2**6,
    }


def test_questions_that_do_not_fit_count_as_wrong(model, platform, monkeypatch):
    from components.evaluation.engine import huggingface

    class ShortSighted(huggingface.HuggingFaceEngine):
        def __init__(self, *args):
            super().__init__(*args)
            self.max_length = 30

    monkeypatch.setattr(huggingface, "HuggingFaceEngine", ShortSighted)
    evaluation = stage.run(SETTINGS, platform, model=model, label="short")
    for row in evaluation.read_json("results.json"):
        assert (row["too_long"], row["shortened"], row["accuracy"], row["unparsed_rate"]) == (20, 20, 0.0, 1.0)
    assert "20 did not fit even so" in (evaluation.local() / "report.html").read_text()


def write_recipe(tmp_path: Path, platform, **evaluation) -> str:
    sections = {"platform": platform.model_dump(mode="json"), "evaluation": evaluation}
    (tmp_path / "recipe.yaml").write_text(json.dumps(sections))
    return str(tmp_path / "recipe.yaml")


def test_command_line(model, platform, tmp_path, capsys):
    model.save(tmp_path / "manifest.json")
    recipe = write_recipe(tmp_path, platform, benchmarks=["pubmedqa"], max_items=4)
    __main__.main(["--recipe", recipe, "--model", str(tmp_path / "manifest.json"), "--label", "tiny"])
    uri = capsys.readouterr().out.splitlines()[-1]
    assert Manifest.load(uri).read_json("results.json")[0]["n"] == 4
    recipe = write_recipe(tmp_path, platform, benchmarks=["pubmedka"])
    with pytest.raises(SystemExit, match=r"recipe.yaml:1: evaluation.benchmarks: no benchmark is called 'pubmedka'"):
        __main__.main(["--recipe", recipe, "--model", str(tmp_path / "manifest.json"), "--label", "tiny"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"benchmarks": []}, "at least 1 item"),
        ({"benchmarks": ["pubmedqa", "pubmedqa"]}, "pubmedqa is listed twice"),
        ({"benchmarks": ["medmka"]}, "no benchmark is called 'medmka'; choose from"),
        ({"max_items": 0}, "greater than or equal to 1"),
        ({"mode": "guess"}, "top_token"),
        ({"temperature": 1}, "Extra inputs"),
    ],
)
def test_settings_that_make_no_sense(values, message):
    with pytest.raises(ValidationError, match=message):
        EvaluationSettings(**values)
