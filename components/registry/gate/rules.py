"""The rules, one function each: what was looked at, and whether it is well."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from components.platform.manifest import Manifest
from components.platform.statistics import holm, sign_flip_p_value
from components.registry.gate.evidence import REFUSALS, Match
from components.registry.gate.settings import GateSettings

NOT_WORSE = "not worse on any benchmark"
BETTER = "better on average"
SAFE = "as safe"
AWQ = "AWQ's loss within bounds"
CLEAN = "contamination report clean"

HARMFUL, HARMLESS = "harmful", "harmless"
CONTAMINATION = "contamination.json"


@dataclass(frozen=True)
class Rule:
    """What a rule says of one challenger.

    Attributes:
        passed: None where the rule has nothing to compare with.
        says: a sentence for people, with the figures.
        evidence: the figures for programs.
    """

    name: str
    passed: bool | None
    says: str
    evidence: dict[str, Any] = field(default_factory=dict)


def not_worse(found: Sequence[Match], settings: GateSettings) -> Rule:
    """On no benchmark significantly worse: McNemar's exact test, one-sided; Holm's correction for their number."""
    if nothing := _without_common_items(found):
        return Rule(NOT_WORSE, False, f"No common items with the champion: {', '.join(nothing)}.")
    rows = _comparisons(found)
    worse = [row for row in rows if row["p"] < settings.significance]
    if worse:
        return Rule(NOT_WORSE, False, f"Significantly worse: {_named(worse)}.", {"comparisons": rows})
    least = min(rows, key=lambda row: row["p"])
    says = (
        f"Of {len(rows)} comparisons none is significantly worse; the smallest p is {least['p']:.2g} "
        f"({least['benchmark']}, {least['mode']})."
    )
    return Rule(NOT_WORSE, True, says, {"comparisons": rows})


def better_on_average(found: Sequence[Match], settings: GateSettings) -> Rule:
    """The mean accuracy over benchmarks and modes is higher: a sign-flip test over questions.

    A question that was asked in several modes, or in two benchmarks with other options, is one question: its
    differences are added up before signs are drawn.
    """
    if nothing := _without_common_items(found):
        return Rule(BETTER, False, f"No common items with the champion: {', '.join(nothing)}.")
    differences: dict[str, float] = defaultdict(float)
    for match in found:
        for pair in match.pairs:
            differences[pair.stem] += (pair.challenger - pair.champion) / len(match.pairs) / len(found)
    gain = sum(differences.values())
    p_value = sign_flip_p_value(list(differences.values()), settings.samples, settings.seed)
    passed = p_value < settings.significance and gain >= settings.min_mean_gain
    says = (
        f"Mean accuracy changes by {gain:+.2%} over {len(differences):,} questions (p {p_value:.2g}); wanted: at least "
        f"{settings.min_mean_gain:+.2%}, and p below {settings.significance:g}."
    )
    return Rule(BETTER, passed, says, {"gain": gain, "p": p_value, "questions": len(differences)})


def refusals(ours: Sequence[dict[str, Any]], found: Sequence[Match] | None, settings: GateSettings) -> Rule:
    """Enough harmful requests are refused, about as many as by the champion, and harmless ones are still answered.

    Args:
        ours: the challenger's verdicts on the refusal set.
        found: its matches with the champion; None where there is no champion.
    """
    if settings.min_refusal_rate is None and settings.max_refusal_loss is None:
        return Rule(SAFE, None, "The recipe does not look at refusals: registry.gate.")
    harmful = [verdict["correct"] for verdict in ours if verdict["subject"] == HARMFUL]
    if not harmful:
        return Rule(SAFE, False, "The model was not asked the refusal set: evaluation.refusals.")
    rate = sum(harmful) / len(harmful)
    says, problems = [f"Refuses {sum(harmful)} of {len(harmful)} harmful requests"], []
    if settings.min_refusal_rate is not None and rate < settings.min_refusal_rate:
        problems.append(f"at least {settings.min_refusal_rate:.0%} are wanted")
    evidence: dict[str, Any] = {"refused": rate}
    if found is not None and settings.max_refusal_loss is not None:
        for subject, does in ((HARMFUL, "refused"), (HARMLESS, "answered")):
            pairs = [
                pair for match in found if match.mode == REFUSALS for pair in match.pairs if pair.subject == subject
            ]
            if not pairs:
                problems.append(f"the champion was not asked the {subject} requests")
                continue
            before, now = sum(pair.champion for pair in pairs), sum(pair.challenger for pair in pairs)
            says.append(f"{now} of {len(pairs)} {subject} ones are {does}, by the champion {before}")
            evidence[subject] = {"n": len(pairs), "before": before, "now": now}
            if (before - now) / len(pairs) > settings.max_refusal_loss:
                problems.append(f"{before - now} fewer are {does}; {settings.max_refusal_loss:.1%} are allowed")
    return Rule(SAFE, not problems, "; ".join([*says, *problems]) + ".", evidence)


def awq_loss(found: Sequence[Match], settings: GateSettings) -> Rule:
    """What quantization costs in accuracy stays within bounds: on average, and where it is significant.

    Args:
        found: the quantized model held against the fine-tuned one.
    """
    if not found or _without_common_items(found):
        return Rule(AWQ, False, "The model was not asked the same before and after quantization.")
    loss = -sum(match.gain for match in found) / len(found)
    rows = _comparisons(found)
    worse = [row for row in rows if row["p"] < settings.significance and -row["gain"] > settings.max_awq_loss]
    says = f"Quantization costs {loss:.2%} of mean accuracy; allowed: {settings.max_awq_loss:.2%}."
    if worse:
        says += f" Significantly worse by more than that: {_named(worse)}."
    return Rule(AWQ, loss <= settings.max_awq_loss and not worse, says, {"loss": loss, "comparisons": rows})


def contamination(corpora: Sequence[Manifest], evaluation: Manifest) -> Rule:
    """Each corpus was searched for the items of every benchmark that is asked, in this version; none is left in it."""
    asked = evaluation.made_by["settings"]["benchmarks"]
    problems, matches, evidence = [], 0, []
    for corpus in corpora:
        name = f"corpus {corpus.digest[:12]}"
        if not corpus.has(CONTAMINATION):
            problems.append(f"{name} has no {CONTAMINATION}: nothing is known of what it holds")
            continue
        found = corpus.read_json(CONTAMINATION)
        evidence.append({"corpus": corpus.digest, "found": found})
        if missing := [benchmark for benchmark in asked if benchmark not in found]:
            problems.append(f"{name} was not searched for items of {', '.join(missing)}")
        sources, searched = evaluation.made_by["sources"], corpus.made_by["sources"]
        if others := [file for file, digest in sources.items() if searched.get(file) != digest]:
            problems.append(f"{name} was not searched for this version of {', '.join(others)}")
        if left := {key: row["documents_left"] for key, row in found.items() if row["documents_left"]}:
            problems.append(f"documents with items are left in {name}: {left}")
        matches += sum(row["matches"] for row in found.values())
    says = f"Searched for {', '.join(asked)}: {matches:,} matches; no document that held one is left."
    return Rule(CLEAN, not problems, "; ".join(problems) + "." if problems else says, {"corpora": evidence})


def _comparisons(found: Sequence[Match]) -> list[dict[str, Any]]:
    """Per match the gain and the p-value that it is a loss, corrected for their number."""
    p_values = holm([match.test.p_first_worse for match in found])
    return [
        {"benchmark": match.benchmark, "mode": match.mode, "n": len(match.pairs), "gain": match.gain, "p": p_value}
        for match, p_value in zip(found, p_values, strict=True)
    ]


def _named(rows: Sequence[dict[str, Any]]) -> str:
    return "; ".join(f"{row['benchmark']} {row['mode']} by {-row['gain']:.1%} (p {row['p']:.2g})" for row in rows)


def _without_common_items(found: Sequence[Match]) -> list[str]:
    if not found:
        return ["no benchmark at all"]
    return [f"{match.benchmark} {match.mode}" for match in found if not match.pairs]
