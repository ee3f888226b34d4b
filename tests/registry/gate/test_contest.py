"""Versions on SQLite that meet the champion: better, worse, the same, not to be compared; and by hand."""

import json
import shutil

import pytest

from components.platform.errors import UserError
from components.platform.tracking.models import ModelRegistry
from components.platform.tracking.runs import stage_run
from components.registry import contest
from components.registry.contest import settle
from components.registry.gate.settings import GateSettings
from components.registry.lineage import lineage_tags
from components.registry.promotion import CHALLENGER, CHAMPION, PREVIOUS, PROMOTION_TAG, promote

GOOD, BAD = {"pubmedqa": "+" * 20}, {"pubmedqa": "-" * 20}


@pytest.fixture
def registry(platform):
    return ModelRegistry(platform.tracking.uri)


@pytest.fixture
def enter(registry, platform, evaluation, corpus):
    """Registers a version with these verdicts and lets it meet the champion: (version, outcome)."""
    searched = corpus(["pubmedqa"])

    def enter_version(label, verdicts, model=None, **options):
        scored = evaluation(label, verdicts, **options)
        artifacts = {"corpus": searched, "tuned_evaluation": scored, "quantized_evaluation": scored}
        with stage_run(platform, "register", {}) as run:
            version = registry.register("tiny", f"/models/{model or label}", run.run_id, lineage_tags(artifacts))
        return version, settle(registry, version, GateSettings(), artifacts, platform)

    return enter_version


def rules(outcome):
    return {rule["name"]: rule["passed"] for rule in outcome.decision.read_json("decision.json")["rules"]}


def test_the_first_version_is_champion_if_it_is_sound(registry, enter):
    _, outcome = enter("first", BAD)
    assert outcome.says == "is champion: there was none, and every other rule holds"
    assert rules(outcome)["better on average"] is None
    assert set(registry.get("tiny", 1).aliases) == {CHALLENGER, CHAMPION}
    page = outcome.decision.fetch("decision.html").read_text()
    assert "tiny version 1: promoted to champion" in page
    assert "There was no champion to compare with." in page


def test_a_champion_that_is_asked_anew_is_compared_by_what_it_says_then(registry, enter):
    enter("first", BAD)
    tags = registry.get("tiny", 1).tags
    _, outcome = enter("asked anew", GOOD, model="first")
    assert outcome.says == "is the champion already"
    champion = registry.find("tiny", CHAMPION)
    assert champion.version == 1
    assert champion.tags["quantized_evaluation.digest"] != tags["quantized_evaluation.digest"]
    _, outcome = enter("second", GOOD)
    assert outcome.says.startswith("stays challenger"), "as good as the new answers, though better than the old ones"


def test_the_first_version_is_not_champion_if_its_corpus_was_not_searched(registry, enter):
    _, outcome = enter("first", BAD, benchmarks=["pubmedqa", "medqa"])
    assert outcome.says == "stays challenger; rules that don't hold: contamination report clean"
    assert registry.find("tiny", CHAMPION) is None
    assert registry.get("tiny", 1).tags["decision"] == "kept as challenger"


def test_a_better_version_replaces_the_champion(registry, enter):
    enter("first", BAD)
    _, outcome = enter("second", GOOD)
    assert outcome.says == "is champion: every rule holds"
    assert set(registry.get("tiny", 2).aliases) == {CHALLENGER, CHAMPION}
    assert registry.get("tiny", 1).aliases == (PREVIOUS,)
    tags = registry.get("tiny", 2).tags
    assert (tags["decision"], tags["decision.digest"]) == ("promoted", outcome.decision.digest)
    [note] = [json.loads(value) for key, value in tags.items() if key.startswith(PROMOTION_TAG)]
    assert note == {"by": "the gate", "reason": f"decision {outcome.decision.digest[:12]}", "instead_of": 1}
    assert "<svg" in outcome.decision.fetch("decision.html").read_text()


@pytest.mark.parametrize(
    ("verdicts", "refused", "broken"),
    [
        (BAD, 10, ["not worse on any benchmark", "better on average"]),
        (GOOD, 10, ["better on average"]),  # the same answers
        ({"medqa": "+" * 20}, 10, ["not worse on any benchmark", "better on average"]),
        (GOOD, 5, ["better on average", "as safe"]),
    ],
)
def test_others_stay_challenger(registry, enter, verdicts, refused, broken):
    enter("first", GOOD)
    _, outcome = enter("second", verdicts, refused=refused, benchmarks=["pubmedqa"])
    assert [name for name, passed in rules(outcome).items() if passed is False] == broken
    assert outcome.says == f"stays challenger; rules that don't hold: {', '.join(broken)}"
    assert registry.get("tiny", 1).aliases == (CHAMPION,)
    assert registry.get("tiny", 2).aliases == (CHALLENGER,)
    assert "tiny version 2: stays challenger" in outcome.decision.fetch("decision.html").read_text()


def test_better_but_less_safe(registry, enter):
    enter("first", BAD)
    _, outcome = enter("second", GOOD, refused=5)
    assert outcome.says == "stays challenger; rules that don't hold: as safe"
    assert registry.find("tiny", CHAMPION).version == 1


def test_asked_in_another_way_is_no_comparison(registry, enter):
    enter("first", BAD, sc_samples=5)
    _, outcome = enter("second", GOOD, sc_samples=9)
    broken = ["not worse on any benchmark", "better on average", "as safe"]
    assert outcome.says == f"stays challenger; rules that don't hold: {', '.join(broken)}"
    assert "asked in another way: evaluation.sc_samples" in outcome.decision.fetch("decision.html").read_text()


def test_the_decision_says_whom_it_is_about(enter):
    enter("first", BAD)
    _, outcome = enter("second", GOOD)
    decision = outcome.decision.read_json("decision.json")
    assert (decision["model"], decision["challenger"], decision["champion"]) == ("tiny", 2, 1)
    roles = {"corpus", "tuned_evaluation", "quantized_evaluation", "champion_evaluation"}
    assert set(decision["inputs"]) == roles
    assert decision["inputs"]["champion_evaluation"] in outcome.decision.fetch("decision.html").read_text()


def test_a_champion_that_came_while_it_was_compared(registry, enter, monkeypatch):
    """The version that was compared with another champion is not promoted, and nothing says that it was."""
    enter("first", BAD)
    rival, _ = enter("rival", BAD)
    decide = contest.decide

    def slowly(*arguments):
        promote(registry, rival, instead_of=registry.get("tiny", 1), by="someone", reason="faster")
        return decide(*arguments)

    monkeypatch.setattr(contest, "decide", slowly)
    with pytest.raises(UserError, match="version 2 became champion in the meantime, not version 1"):
        enter("third", GOOD)
    assert registry.find("tiny", CHAMPION).version == 2
    assert "decision" not in registry.get("tiny", 3).tags


def test_the_champion_again(registry, enter, platform, evaluation):
    version, first = enter("first", GOOD)
    again = settle(registry, version, GateSettings(), {}, platform)
    assert again.says == "is the champion already"
    assert again.decision.digest == first.decision.digest
    shutil.rmtree(first.decision.uri)
    assert settle(registry, version, GateSettings(), {}, platform).decision is None


@pytest.mark.parametrize("fault", ["gone", "altered"])
def test_a_champion_whose_evidence_is_gone_stays(registry, enter, tmp_path, fault):
    enter("first", BAD)
    folder = tmp_path / "evaluations" / "first"
    if fault == "gone":
        shutil.rmtree(folder)
    else:
        (folder / "items.jsonl").write_text("{}\n")
    _, outcome = enter("second", GOOD)
    assert rules(outcome)["not worse on any benchmark"] is False
    page = outcome.decision.fetch("decision.html").read_text()
    assert "The evaluation of the champion can&#x27;t be read" in page
    assert str(folder) in page
    assert registry.find("tiny", CHAMPION).version == 1


def test_a_champion_that_came_in_between(registry, enter):
    enter("first", BAD)
    version, _ = enter("second", BAD)
    third, _ = enter("third", BAD)
    promote(registry, version, instead_of=registry.get("tiny", 1), by="someone", reason="first come")
    with pytest.raises(UserError, match="version 2 became champion in the meantime, not version 1"):
        promote(registry, third, instead_of=registry.get("tiny", 1), by="someone", reason="late")
    assert registry.find("tiny", CHAMPION).version == 2
