"""The whole stage: results, report, resumption, comparison."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from components.evaluation import __main__, results, rounds, stage
from components.evaluation.results import Verdict
from components.evaluation.settings import EvaluationSettings
from components.platform.context import PlatformSettings, TrackingSettings
from components.platform.manifest import FileEntry, Manifest

SETTINGS = EvaluationSettings(max_items=20, batch_size=8)
ALL_MODES = EvaluationSettings(
    benchmarks=("pubmedqa", "medqa-4-option"),
    modes=("top_token", "cot", "sc_cot", "few_shot"),
    max_items=6,
    batch_size=8,
    max_new_tokens=6,
    sc_samples=3,
    few_shot={"shots": 2},
)


@pytest.fixture(scope="module")
def everything(model, data, tmp_path_factory):
    """An evaluation in all modes."""
    tracking = TrackingSettings(uri="sqlite:///unused.db")
    platform = PlatformSettings(data=str(data), workspace=str(tmp_path_factory.mktemp("runs")), tracking=tracking)
    return stage.run(ALL_MODES, platform, model=model, label="tiny")


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
    assert evaluation.metadata["pubmedqa/top_token/accuracy"] == rows[0]["accuracy"]
    mean = sum(row["accuracy"] for row in rows) / 3
    assert evaluation.metadata["macro_average/top_token/accuracy"] == pytest.approx(mean)


def test_the_model_in_another_format_is_not_fetched(model, platform):
    other = FileEntry("model-gemm/model.safetensors", 1, 64 * "0")  # not there
    settings = EvaluationSettings(benchmarks=("pubmedqa",), max_items=2)
    stage.run(settings, platform, model=replace(model, files=(*model.files, other)), label="tiny")


def test_every_mode_has_its_rows(everything):
    rows = everything.read_json("results.json")
    both = ["pubmedqa", "medqa-4-option"]
    expected = [(mode, name) for mode in ("top_token", "cot", "sc_cot", "few_shot") for name in both]
    assert [(row["mode"], row["benchmark"]) for row in rows] == expected
    items = everything.read_jsonl("items.jsonl")
    assert len(items) == 6 * 2 * (4 + 2)  # three seeds of demonstrations
    for row in rows:
        own = [item for item in items if (item["mode"], item["benchmark"]) == (row["mode"], row["benchmark"])]
        assert row["n"] == len({item["id"] for item in own}) == 6
        assert row["accuracy"] == pytest.approx(sum(item["correct"] for item in own) / len(own))
        assert (row["restricted_accuracy"] is None) == (row["mode"] in ("cot", "sc_cot"))
        assert {len(item["replies"]) for item in own} == {3 if row["mode"] == "sc_cot" else 1}
        assert all(len(item["votes"]) == len(item["replies"]) for item in own)
        confidences = row["mode"] != "cot" and [item for item in own if item["mode"] != "sc_cot" or item["prediction"]]
        assert sum(bin["n"] for bin in row["reliability"]) == len(confidences or [])
        assert (row["ece"] is None) == (not confidences)
    few_shot = rows[-1]
    by_seed = {
        str(seed): sum(i["correct"] for i in items if (i["benchmark"], i["demonstrations"]) == (both[1], seed)) / 6
        for seed in (0, 1, 2)
    }
    assert few_shot["accuracy_by_seed"] == by_seed
    assert few_shot["accuracy_std"] == pytest.approx(np.std(list(by_seed.values()), ddof=1))
    assert all(isinstance(value, float | str) for value in everything.metadata.values())
    assert {name.split("/")[1] for name in everything.metadata if name.startswith("macro")} == set(ALL_MODES.modes)
    report = (everything.local() / "report.html").read_text()
    for text in ("Self-consistency", "Few-shot", "69.3%", "81.6%", "ECE", "Reliability", "macro average", "±"):
        assert text in report


def test_prompts_say_what_the_mode_asks_for(everything):
    for item in everything.read_jsonl("items.jsonl"):
        assert ("Let's think step by step" in item["prompt"]) == (item["mode"] in ("cot", "sc_cot"))
        assert item["prompt"].count("Answer:") == (3 if item["mode"] == "few_shot" else 0)
        assert ("<|im_start|>" in item["prompt"]) == (item["mode"] != "few_shot")


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


def test_an_interrupted_run_goes_on_where_it_stopped(everything, model, platform, tmp_path, monkeypatch):
    """In the middle of every mode: what was answered is not asked again, and the file is the same."""
    elsewhere = platform.model_copy(update={"workspace": str(tmp_path / "again")})
    asked, answer = [], rounds.answer
    stops = iter([1, 4, 8, 14, None])  # batches before each stop

    def stopping(round_, items, engine, settings):
        if len(asked) == stop:
            raise KeyboardInterrupt
        asked.append([results.key(round_, item) for item in items])
        return answer(round_, items, engine, settings)

    monkeypatch.setattr(rounds, "answer", stopping)
    torn: list[list] = []
    while (stop := next(stops)) is not None:
        with pytest.raises(KeyboardInterrupt):
            stage.run(ALL_MODES, elsewhere, model=model, label="tiny")
        [partial] = (tmp_path / "again/evaluation").glob(f"*/{results.PARTIAL}")
        partial.write_text(partial.read_text()[:-20])  # the last line is torn, as if the machine had gone down
        torn.append(asked[-1])
    again = stage.run(ALL_MODES, elsewhere, model=model, label="tiny")
    assert {batch[0][0] for batch in torn} == set(ALL_MODES.modes)
    for batch in torn:
        assert asked.count(batch) == 2  # as a whole, so that it computes the same
    assert all(asked.count(batch) == 1 for batch in asked if batch not in torn)
    assert again.fetch("items.jsonl").read_bytes() == everything.fetch("items.jsonl").read_bytes()
    assert again.digest == everything.digest
    assert not partial.exists()


def test_batch_size_changes_nothing(everything, model, platform):
    one = stage.run(ALL_MODES.model_copy(update={"batch_size": 1}), platform, model=model, label="tiny")
    assert one.made_by != everything.made_by
    for a, b in zip(everything.read_jsonl("items.jsonl"), one.read_jsonl("items.jsonl"), strict=True):
        assert {**a, "choice_logprobs": None} == {**b, "choice_logprobs": None}
        assert a["choice_logprobs"] == pytest.approx(b["choice_logprobs"], abs=1e-4)


def test_the_seed_draws_other_texts_for_self_consistency_only(everything, model, platform):
    settings = ALL_MODES.model_copy(update={"max_items": None, "seed": 1, "benchmarks": ("pubmedqa",)})
    reseeded = stage.run(settings, platform, model, "tiny")
    other = {verdict.key: verdict for verdict in results.read_items(reseeded.fetch("items.jsonl"))}
    ours = [v for v in results.read_items(everything.fetch("items.jsonl")) if v.benchmark == "pubmedqa"]
    assert {v.mode for v in ours if v.replies != other[v.key].replies} == {"sc_cot"}


def test_comparison_with_a_baseline(evaluation, model, platform):
    again = stage.run(SETTINGS, platform, model=model, label="again", baseline=evaluation)
    for row in again.read_json("results.json"):
        assert row["versus"] == {"model": "tiny", "n": 20, "only_this_right": 0, "only_that_right": 0, "p_value": 1.0}
    assert "Compared with tiny" in (again.local() / "report.html").read_text()


def verdict(number: int, correct: bool, seed: int | None = None) -> Verdict:
    answer = "A" if correct else "B"
    return Verdict("cot", "b", seed, str(number), "", "", False, True, [], [], "A", answer, correct, None, {}, "")


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


def test_comparison_asks_each_question_once():
    """Of several sets of demonstrations, the first one counts."""
    ours = [verdict(n, correct=seed == 0, seed=seed) for seed in (0, 1) for n in range(5)]
    theirs = [verdict(n, correct=seed == 1, seed=seed) for seed in (0, 1) for n in range(5)]
    versus = results.compare(ours, theirs, "other")
    assert (versus["n"], versus["only_this_right"], versus["only_that_right"]) == (5, 5, 0)


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
        ({"modes": []}, "at least 1 item"),
        ({"modes": ["guess"]}, "top_token"),
        ({"modes": ["cot", "cot"]}, "cot is listed twice"),
        ({"mode": "top_token"}, "Extra inputs"),
        ({"sc_samples": 1}, "greater than or equal to 2"),
        ({"temperature": 0}, "greater than 0"),
        ({"max_new_tokens": 0}, "greater than or equal to 1"),
        ({"few_shot": {"shots": 0}}, "greater than or equal to 1"),
        ({"few_shot": {"seeds": []}}, "at least 1 item"),
        ({"few_shot": {"seeds": [1, 1]}}, "a seed is listed twice"),
        ({"engine": "vllm"}, "no server is named; add `vllm: {url: ...}`"),
        ({"vllm": {"url": "http://h:8000/v1"}}, "set `engine: vllm`"),
        ({"engine": "vllm", "vllm": {"url": "h:8000"}}, "should match pattern"),
    ],
)
def test_settings_that_make_no_sense(values, message):
    with pytest.raises(ValidationError, match=message):
        EvaluationSettings(**values)
