"""What the campaign found, in words and as a Markdown table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.faults.attempt import Kill
from benchmarks.train.table import machine


@dataclass
class Run:
    """A run that was killed several times.

    Attributes:
        different: artifacts that are not the undisturbed run's.
        bytes_lost: of artifacts that were finished and had to be made again.
        failure: end of the output of an attempt that failed although nothing was killed.
    """

    kills: list[Kill] = field(default_factory=list)
    completed: bool = False
    different: list[str] = field(default_factory=list)
    bytes_lost: int = 0
    seconds: float = 0.0
    failure: str = ""

    @property
    def is_well(self) -> bool:
        """Came out, the same, with nothing lost and nothing left behind."""
        return self.completed and not self.different and not self.bytes_lost and not any(k.orphans for k in self.kills)


def line(number: int, run: Run) -> str:
    where = ", ".join(f"{kill.victim} in {kill.step}" for kill in run.kills)
    state = "same result" if run.is_well else f"NOT WELL: {run.failure or run.different or run}"
    return f"run {number}: {len(run.kills)} kills ({where}), {run.seconds:.0f} s: {state}"


def markdown(runs: Sequence[Run], usual_seconds: float, seed: int) -> str:
    kills = [kill for run in runs for kill in run.kills]
    seconds = sum(run.seconds for run in runs)
    repeated = seconds - usual_seconds * len(runs)
    lines = [
        "# Random kills",
        "",
        "Made by `make bench-faults`: the laptop recipe, made short (`benchmarks/faults/recipe.py`), with all stages",
        "and eight ranks. A process of the run, chosen by chance, gets SIGKILL at a moment chosen by chance; the same",
        "command is given again, until the run is done. Its artifacts are then compared with an undisturbed run's.",
        "",
        *machine(),
        f"- seed {seed}; undisturbed, the run takes {usual_seconds:.0f} s",
        "",
        "| | |",
        "| --- | --- |",
        f"| runs | {len(runs)} |",
        f"| kills | {len(kills)} |",
        f"| runs completed | {sum(run.completed for run in runs)} |",
        f"| with the very bytes of the undisturbed one | {sum(run.completed and not run.different for run in runs)} |",
        f"| bytes of finished artifacts lost | {sum(run.bytes_lost for run in runs)} |",
        f"| processes that outlived their run | {sum(kill.orphans for kill in kills)} |",
        f"| time per kill, beyond the undisturbed runs' | {repeated / max(1, len(kills)):.0f} s |",
        "",
        "| killed | " + " | ".join(victims := sorted({kill.victim for kill in kills})) + " |",
        "| --- |" + " ---: |" * len(victims),
    ]
    count = Counter((kill.step, kill.victim) for kill in kills)
    for step in sorted({kill.step for kill in kills}):
        lines.append(f"| {step} | " + " | ".join(str(count[step, victim] or "") for victim in victims) + " |")
    for number, run in enumerate(runs, start=1):
        if not run.is_well:
            lines += ["", f"Run {number} did not come out well: {run.different or run.failure}"]
    return "\n".join(lines) + "\n"
