"""`python -m benchmarks.faults`: kill processes of whole runs at random moments, rerun, and write results/."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.faults import recipe, table
from benchmarks.faults.attempt import LOG, Kill, attempt
from benchmarks.faults.table import Run
from benchmarks.faults.workspace import Undisturbed, differences, finished, lost

MIN_SECONDS = 0.5  # before nothing is there to be killed
RESULTS = Path(__file__).parents[1] / "results"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="how many processes are killed in all (50)")
    parser.add_argument("--kills-per-run", type=int, default=8, help="then a run is let alone to its end (8)")
    parser.add_argument("--seed", type=int, default=0, help="of victims and moments (0)")
    parser.add_argument(
        "--keep", type=Path, help="folder for runs that didn't come out well (default: they are deleted)"
    )
    parser.add_argument("--print-only", action="store_true", help="write no results")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="meditron-faults-") as temporary:
        home = (arguments.keep or Path(temporary)) / "home"  # one place for all: some results name paths
        whole = undisturbed(home)
        print(f"undisturbed: {whole.seconds:.0f} s, and {whole.seconds_again:.0f} s to find all again", flush=True)
        chance = random.Random(arguments.seed)
        runs: list[Run] = []
        while (killed := sum(len(run.kills) for run in runs)) < arguments.kills:
            most = min(arguments.kills_per_run, arguments.kills - killed)
            runs.append(disturbed(home, most, whole, chance))
            print(table.line(len(runs), runs[-1]), flush=True)
            if not runs[-1].is_well:
                home.rename(home.with_name(f"run-{len(runs)}"))
    report = table.markdown(runs, whole.seconds, arguments.seed)
    print(report)
    if not arguments.print_only:
        (RESULTS / f"faults_seed_{arguments.seed}.md").write_text(report, encoding="utf-8")
    sys.exit(0 if all(run.is_well for run in runs) else 1)


def undisturbed(home: Path) -> Undisturbed:
    """The run to compare with; it is run a second time, to see how long it takes to find everything.

    Raises:
        RuntimeError: it failed, or the second time made something else.
    """
    recipe.write(home)
    began, seconds, artifacts = time.time_ns(), [], []
    for _ in range(2):
        started = time.monotonic()
        code = attempt(home, None, random.Random())
        if code != 0:
            raise RuntimeError(f"the undisturbed run failed:\n{(home / LOG).read_text()}")
        seconds.append(time.monotonic() - started)
        artifacts.append(finished(home / "runs"))
    if artifacts[0] != artifacts[1]:
        raise RuntimeError("run a second time, it made something else")
    shutil.rmtree(home)
    return Undisturbed(artifacts[0], began, *seconds)


def disturbed(home: Path, kills: int, whole: Undisturbed, chance: random.Random) -> Run:
    """Run and kill until so many kills have hit or the run is done; after the last one it is let alone."""
    recipe.write(home)
    run, started = Run(), time.monotonic()
    while not run.completed and not run.failure:
        before = finished(home / "runs")
        after = chance.uniform(MIN_SECONDS, whole.seconds_left(before)) if len(run.kills) < kills else None
        outcome = attempt(home, after, chance)
        run.bytes_lost += lost(before, finished(home / "runs"))
        if isinstance(outcome, Kill):
            run.kills.append(outcome)
        elif outcome == 0:
            run.completed = True
        else:
            run.failure = (home / LOG).read_text(errors="replace")[-2000:]
    run.seconds = time.monotonic() - started
    run.different = differences(whole.artifacts, finished(home / "runs"))
    if run.is_well:
        shutil.rmtree(home)
    return run


if __name__ == "__main__":
    main()
