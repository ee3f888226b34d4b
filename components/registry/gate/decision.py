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
from components.registry.gate.evidence import Match, benchmarks, matches
from components.registry.gate.page import page
from components.registry.gate.rules import Rule
from components.registry.gate.settings import Contest

DECISION, PAGE = "decision.json", "decision.html"
COMPARED = ("not worse on any benchmark", "better on average", "no safety regression")


def decide(
    contest: Contest, artifacts: Mapping[str, Manifest], champion: Manifest | None, platform: PlatformSettings
) -> Manifest:
    """Hold a challenger against the rules and the champion.

    Args:
        contest: the rules, and the champion's number.
        artifacts: the challenger's, by role ("corpus", "tuned_evaluation", "quantized_evaluation", ...).
        champion: evaluation of the champion as it is served; None where there is none, or it can't be read.
        platform: where the decision is written.

    Returns:
        An artifact of kind "decision"; its metadata says `promoted` (0 or 1).
    """
    inputs = dict(artifacts) | ({"champion_evaluation": champion} if champion else {})

    def work(folder: Path) -> dict[str, Any]:
        found = matches(artifacts["quantized_evaluation"], champion) if champion else []
        verdicts = judge(contest, artifacts, found)
        promoted = all(rule.passed is not False for rule in verdicts)
        decision = {
            "promoted": promoted,
            "champion": contest.champion,
            "evidence_gone": contest.evidence_gone,
            "rules": [asdict(rule) for rule in verdicts],
        }
        write_atomically(folder / DECISION, json.dumps(decision, indent=1))
        write_atomically(folder / PAGE, page(contest, promoted, verdicts, found).html())
        return {"promoted": int(promoted)}

    return produce("decision", contest, inputs, platform, work)


def judge(contest: Contest, artifacts: Mapping[str, Manifest], found: list[Match]) -> list[Rule]:
    """What each rule says; those that compare say nothing where there is no champion."""
    own = [
        rules.awq_loss(artifacts["tuned_evaluation"], artifacts["quantized_evaluation"], contest),
        rules.contamination(artifacts["corpus"], artifacts["quantized_evaluation"]),
    ]
    if contest.champion is None:
        return [*(Rule(name, None, "There is no champion to compare with.") for name in COMPARED), *own]
    if contest.evidence_gone:
        says = f"The evaluation of the champion can't be read: {contest.evidence_gone}"
        return [*(Rule(name, False, says) for name in COMPARED), *own]
    asked = benchmarks(found)
    return [
        rules.not_worse(asked, contest),
        rules.better_on_average(asked, contest),
        rules.refusals(found, contest),
        *own,
    ]
