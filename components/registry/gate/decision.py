"""The decision on a challenger: `decision.json` for programs, `decision.html` for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.platform.context import PlatformSettings
from components.platform.manifest import Manifest
from components.platform.stage import produce
from components.platform.storage import write_atomically
from components.registry.gate import rules
from components.registry.gate.evidence import ITEMS, REFUSALS, Match, asked_otherwise, benchmarks, matches
from components.registry.gate.page import page
from components.registry.gate.rules import BETTER, NOT_WORSE, SAFE, Rule
from components.registry.gate.settings import Contest

DECISION, PAGE = "decision.json", "decision.html"


def decide(
    contest: Contest, artifacts: Mapping[str, Manifest], champion: Manifest | None, platform: PlatformSettings
) -> Manifest:
    """Hold a challenger against the rules and the champion.

    Args:
        contest: the rules, and who meets whom.
        artifacts: the challenger's, by role ("corpus", "tuned_evaluation", "quantized_evaluation", ...); further
            corpora that it goes back to have roles that begin with "before/".
        champion: evaluation of the champion as it is served; None where there is none, or it can't be read.
        platform: where the decision is written.

    Returns:
        An artifact of kind "decision"; its metadata says `promoted` (0 or 1).
    """
    inputs = dict(artifacts) | ({"champion_evaluation": champion} if champion else {})
    digests = {role: manifest.digest for role, manifest in inputs.items()}

    def work(folder: Path) -> dict[str, Any]:
        found = matches(artifacts["quantized_evaluation"], champion) if champion else []
        verdicts = judge(contest, artifacts, champion, found)
        promoted = all(rule.passed is not False for rule in verdicts)
        decision = {
            "promoted": promoted,
            **contest.model_dump(include={"model", "challenger", "champion", "evidence_gone"}),
            "inputs": digests,
            "rules": [asdict(rule) for rule in verdicts],
        }
        write_atomically(folder / DECISION, json.dumps(decision, indent=1))
        write_atomically(folder / PAGE, page(contest, promoted, verdicts, benchmarks(found), digests).html())
        return {"promoted": int(promoted)}

    return produce("decision", contest, inputs, platform, work)


def judge(
    contest: Contest, artifacts: Mapping[str, Manifest], champion: Manifest | None, found: list[Match]
) -> list[Rule]:
    """What each rule says; those that compare say nothing where there is no champion."""
    evaluation = artifacts["quantized_evaluation"]
    corpora = [manifest for role, manifest in artifacts.items() if role == "corpus" or role.startswith("before/")]
    asked = [row for row in evaluation.read_jsonl(ITEMS) if row["mode"] == REFUSALS]
    own = [
        rules.awq_loss(benchmarks(matches(evaluation, artifacts["tuned_evaluation"])), contest),
        rules.contamination(corpora, evaluation),
    ]
    if contest.champion is None:
        nothing = [Rule(name, None, "There is no champion to compare with.") for name in (NOT_WORSE, BETTER)]
        return [*nothing, rules.refusals(asked, None, contest), *own]
    if champion is None:
        says = f"The evaluation of the champion can't be read: {contest.evidence_gone}"
        return [*(Rule(name, False, says) for name in (NOT_WORSE, BETTER, SAFE)), *own]
    if otherwise := asked_otherwise(evaluation, champion):
        says = f"The champion was asked in another way: evaluation.{', '.join(otherwise)}."
        return [*(Rule(name, False, says) for name in (NOT_WORSE, BETTER, SAFE)), *own]
    compared = benchmarks(found)
    return [
        rules.not_worse(compared, contest),
        rules.better_on_average(compared, contest),
        rules.refusals(asked, found, contest),
        *own,
    ]
