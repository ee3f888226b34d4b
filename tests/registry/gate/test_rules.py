"""Each rule on verdicts that are known one by one."""

import pytest

from components.registry.gate import rules
from components.registry.gate.evidence import benchmarks, matches
from components.registry.gate.settings import GateSettings

SETTINGS = GateSettings()


def against(evaluation, challenger, champion, ours=10, theirs=10):
    """The matches of two evaluations."""
    return matches(evaluation("challenger", challenger, ours), evaluation("champion", champion, theirs))


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


def test_awq(evaluation):
    before, after = evaluation("sft", {"a": "++++", "b": "++--"}), evaluation("awq", {"a": "+++-", "b": "++--"})
    rule = rules.awq_loss(before, after, GateSettings(max_awq_loss=0.13))
    assert rule.passed
    assert rule.evidence["loss"] == pytest.approx(0.125)
    assert not rules.awq_loss(before, after, GateSettings(max_awq_loss=0.12)).passed
    assert rules.awq_loss(after, before, GateSettings(max_awq_loss=0)).passed  # a gain is no loss
    other = evaluation("other", {"c": "+"})
    assert "not evaluated on the same benchmarks" in rules.awq_loss(other, after, SETTINGS).says


def test_contamination(evaluation, corpus):
    asked = evaluation("awq", {"pubmedqa": "+", "medqa": "+"})
    clean = rules.contamination(corpus(["pubmedqa", "medqa", "mmlu"]), asked)
    assert clean.passed
    assert "3 documents that held an item were left out" in clean.says
    half = rules.contamination(corpus(["pubmedqa"]), asked)
    assert (half.passed, half.says) == (
        False,
        "The corpus was not searched for items of medqa: corpus.decontaminate.",
    )
    assert rules.contamination(corpus(None), asked).passed is False


@pytest.mark.parametrize(("ours", "passed"), [(10, True), (9, True), (8, False), (0, False)])
def test_refusals(evaluation, ours, passed):
    found = against(evaluation, {"a": "+"}, {"a": "+"}, ours=ours, theirs=10)
    rule = rules.refusals(found, GateSettings(max_refusal_loss=0.1))
    assert rule.passed is passed
    assert rule.evidence == {"n": 10, "refused": ours, "newly_answered": 10 - ours, "newly_refused": 0}


def test_refusals_that_nobody_asked_for(evaluation):
    found = against(evaluation, {"a": "+"}, {"a": "+"}, ours=None, theirs=None)
    assert rules.refusals(found, SETTINGS).passed is False
    assert rules.refusals(found, GateSettings(max_refusal_loss=None)).passed is None
