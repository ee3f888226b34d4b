"""Each rule on verdicts that are known one by one."""

import json

import pytest

from components.platform.manifest import Manifest
from components.registry.gate import rules
from components.registry.gate.evidence import asked_otherwise, benchmarks, matches
from components.registry.gate.settings import GateSettings

SETTINGS = GateSettings()


def against(evaluation, challenger, champion):
    """The matches of two evaluations."""
    return matches(evaluation("challenger", challenger), evaluation("champion", champion))


def test_items_are_matched_by_their_words(evaluation):
    found = against(evaluation, {"a": "++--", "b": "+"}, {"a": "+-+", "c": "+"})
    assert [(match.benchmark, len(match.pairs), match.others) for match in found] == [
        ("a", 3, 1),
        ("b", 0, 1),
        ("refusals", 15, 0),
        ("c", 0, 1),
    ]
    assert [(pair.challenger, pair.champion) for pair in found[0].pairs] == [(True, True), (True, False), (False, True)]
    assert found[0].gain == 0
    assert [match.benchmark for match in benchmarks(found)] == ["a", "b", "c"]


def test_worse_on_one_of_two(evaluation):
    found = benchmarks(against(evaluation, {"a": "-" * 12, "b": "+" * 12}, {"a": "+" * 12, "b": "-" * 12}))
    rule = rules.not_worse(found, SETTINGS)
    assert rule.passed is False
    assert "a top_token by 100.0%" in rule.says
    assert "b top_token" not in rule.says
    assert [row["p"] for row in rule.evidence["comparisons"]] == pytest.approx([2 / 2**12, 1.0])


def test_a_little_worse_is_chance(evaluation):
    rule = rules.not_worse(benchmarks(against(evaluation, {"a": "+---++++"}, {"a": "++++++++"})), SETTINGS)
    assert rule.passed
    assert rule.evidence["comparisons"][0]["p"] == pytest.approx(1 / 8)


def test_many_comparisons_need_stronger_evidence(evaluation):
    """Five questions lost of five: p 1/32 alone, and 8/32 as the smallest of eight comparisons."""
    ours, theirs = {"a": "-----"}, {"a": "+++++"}
    assert rules.not_worse(benchmarks(against(evaluation, ours, theirs)), SETTINGS).passed is False


def test_of_eight_comparisons_one_such_is_chance(evaluation):
    others = dict.fromkeys("bcdefgh", "+++++")
    found = benchmarks(against(evaluation, {"a": "-----"} | others, {"a": "+++++"} | others))
    assert rules.not_worse(found, SETTINGS).passed


def test_better_on_average(evaluation):
    found = benchmarks(against(evaluation, {"a": "+" * 10, "b": "++"}, {"a": "-" * 10, "b": "+-"}))
    rule = rules.better_on_average(found, SETTINGS)
    assert rule.passed
    assert rule.evidence["gain"] == pytest.approx((1 + 0.5) / 2)  # each benchmark counts the same
    assert rule.evidence["p"] < 0.01


def test_better_by_chance_or_by_too_little(evaluation):
    found = benchmarks(against(evaluation, {"a": "+" * 10 + "-" * 90}, {"a": "-" * 100}))
    assert rules.better_on_average(found, SETTINGS).passed
    assert not rules.better_on_average(found, GateSettings(min_mean_gain=0.11)).passed
    assert not rules.better_on_average(found, GateSettings(significance=0.0001)).passed


def test_a_question_in_two_modes_is_one_question(evaluation):
    """Three questions won in two modes are three wins, not six: p is 1/8, not 1/64."""
    match = benchmarks(against(evaluation, {"a": "+++"}, {"a": "---"}))[0]
    rule = rules.better_on_average([match, match], SETTINGS)
    assert rule.evidence["questions"] == 3
    assert rule.evidence["p"] == pytest.approx(1 / 8, abs=0.02)


@pytest.mark.parametrize("rule", [rules.not_worse, rules.better_on_average])
def test_nothing_in_common(evaluation, rule):
    found = benchmarks(against(evaluation, {"a": "+++"}, {"b": "+++"}))
    assert rule(found, SETTINGS).passed is False
    assert "No common items with the champion: a top_token, b top_token." in rule(found, SETTINGS).says
    assert "no benchmark at all" in rule([], SETTINGS).says


def test_the_same_question_in_two_benchmarks_is_one_question(evaluation):
    found = benchmarks(
        against(evaluation, {"medqa": "+++", "medqa-4-option": "+++"}, {"medqa": "---", "medqa-4-option": "---"})
    )
    assert rules.better_on_average(found, SETTINGS).evidence["questions"] == 3


def test_another_key_makes_another_item(evaluation):
    found = matches(evaluation("challenger", {"a": "+"}, answer="A"), evaluation("champion", {"a": "+"}, answer="B"))
    assert [(match.benchmark, len(match.pairs), match.others) for match in benchmarks(found)] == [("a", 0, 1)]


def test_only_the_first_set_of_demonstrations_counts(evaluation):
    path = evaluation("challenger", {"a": "+"}).fetch("items.jsonl")
    row = json.loads(path.read_text().splitlines()[0])
    path.write_text("".join(json.dumps(row | {"demonstrations": seed}) + "\n" for seed in (0, 1)))
    shown = Manifest.of_folder("evaluation", path.parent)
    [match] = matches(shown, shown)
    assert (len(match.pairs), match.others) == (1, 0)


def test_asked_otherwise(evaluation):
    ours = evaluation("challenger", {"a": "+"}, sc_samples=9, temperature=0.8, batch_size=1)
    theirs = evaluation("champion", {"a": "+"}, sc_samples=5, temperature=0.8, batch_size=2)
    assert asked_otherwise(ours, theirs) == ["sc_samples"]


def test_awq(evaluation):
    found = benchmarks(against(evaluation, {"a": "+++-", "b": "++--"}, {"a": "++++", "b": "++--"}))
    rule = rules.awq_loss(found, GateSettings(max_awq_loss=0.13))
    assert rule.passed
    assert rule.evidence["loss"] == pytest.approx(0.125)
    assert not rules.awq_loss(found, GateSettings(max_awq_loss=0.12)).passed
    assert "not asked the same" in rules.awq_loss([], SETTINGS).says


def test_awq_that_spoils_one_benchmark_and_helps_another(evaluation):
    """Nothing is lost on average."""
    found = benchmarks(against(evaluation, {"a": "-" * 20, "b": "+" * 20}, {"a": "+" * 20, "b": "-" * 20}))
    rule = rules.awq_loss(found, GateSettings(max_awq_loss=0.1))
    assert not rule.passed
    assert "Significantly worse by more than that: a top_token by 100.0%" in rule.says


def test_contamination(evaluation, corpus):
    asked = evaluation("awq", {"pubmedqa": "+", "medqa": "+"})
    clean = corpus(["pubmedqa", "medqa", "mmlu"])
    rule = rules.contamination([clean], asked)
    assert (rule.passed, rule.says) == (
        True,
        "Searched for pubmedqa, medqa: 9 matches; no document that held one is left.",
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"searched": ["pubmedqa"]}, "was not searched for items of medqa"),
        ({"searched": ["pubmedqa", "medqa"], "left": 2}, "documents with items are left in corpus"),
        ({"searched": ["pubmedqa", "medqa"], "version": "2"}, "not searched for this version of pubmedqa.jsonl, medqa"),
        ({"searched": None}, "has no contamination.json: nothing is known of what it holds"),
    ],
)
def test_contamination_that_is_not_ruled_out(evaluation, corpus, options, says):
    asked = evaluation("awq", {"pubmedqa": "+", "medqa": "+"})
    rule = rules.contamination([corpus(**options)], asked)
    assert rule.passed is False
    assert says in rule.says


def test_an_earlier_corpus_that_is_not_clean(evaluation, corpus):
    asked = evaluation("awq", {"pubmedqa": "+"})
    assert rules.contamination([corpus(["pubmedqa"]), corpus(["pubmedqa"], left=1)], asked).passed is False


def refusals(evaluation, settings, ours, theirs=None):
    """The rule on two evaluations with so many (refused, answered); no champion without the second."""
    challenger = evaluation("challenger", {"a": "+"}, *ours)
    found = None if theirs is None else matches(challenger, evaluation("champion", {"a": "+"}, *theirs))
    asked = [row for row in challenger.read_jsonl("items.jsonl") if row["mode"] == "refusals"]
    return rules.refusals(asked, found, settings)


@pytest.mark.parametrize(
    ("ours", "passed"),
    [((10, 5), True), ((9, 5), True), ((8, 5), False), ((0, 5), False), ((10, 4), False), ((10, 0), False)],
)
def test_refusals_beside_the_champions(evaluation, ours, passed):
    rule = refusals(evaluation, GateSettings(max_refusal_loss=0.1), ours, (10, 5))
    assert rule.passed is passed
    assert rule.evidence["harmful"] == {"n": 10, "before": 10, "now": ours[0]}
    assert rule.evidence["harmless"] == {"n": 5, "before": 5, "now": ours[1]}


@pytest.mark.parametrize("theirs", [None, (10, 5)])
def test_a_floor_under_refusals(evaluation, theirs):
    rule = refusals(evaluation, GateSettings(min_refusal_rate=0.8, max_refusal_loss=1.0), (7, 5), theirs)
    assert rule.passed is False
    assert "at least 80% are wanted" in rule.says


def test_a_first_version_without_a_floor(evaluation):
    assert refusals(evaluation, SETTINGS, (0, 5)).passed


def test_refusals_that_nobody_asked_for(evaluation):
    assert refusals(evaluation, SETTINGS, (None,)).passed is False
    assert rules.refusals([], None, GateSettings(max_refusal_loss=None)).passed is None


def test_refusals_that_the_champion_was_not_asked(evaluation):
    rule = refusals(evaluation, SETTINGS, (10, 5), (None,))
    assert rule.passed is False
    assert "the champion was not asked the harmful requests" in rule.says
