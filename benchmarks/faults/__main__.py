"""`python -m benchmarks.faults`: kill processes of whole runs at random moments, rerun, and write results/faults.md."""

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

MIN_SECONDS, LEAST_WINDOW = 0.5, 20.0  # kills fall between the first and what is left of the run, or the second
RESULTS = Path(__file__).parents[1] / "results" / "faults.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="how many processes are killed in all (50)")
    parser.add_argument("--kills-per-run", type=int, default=6, help="then a run is let alone to its end (6)")
    parser.add_argument("--seed", type=int, default=0, help="of victims and moments (0)")
    parser.add_argument(
        "--keep", type=Path, help="folder for runs that didn't come out well (default: they are deleted)"
    )
    parser.add_argument("--print-only", action="store_true", help="write no results")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="meditron-faults-") as temporary:
        home = (arguments.keep or Path(temporary)) / "home"  # one place for all: some results name paths
        whole = undisturbed(home)
        print(f"undisturbed: {len(whole.artifacts)} artifacts in {whole.seconds:.0f} s", flush=True)
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
        RESULTS.write_text(report, encoding="utf-8")
    sys.exit(0 if all(run.is_well for run in runs) else 1)


def undisturbed(home: Path) -> Undisturbed:
    """The run to compare with.

    Raises:
        RuntimeError: it failed.
    """
    recipe.write(home)
    began, started = time.time_ns(), time.monotonic()
    code = attempt(home, None, random.Random())
    if code != 0:
        raise RuntimeError(f"the undisturbed run failed:\n{(home / LOG).read_text()}")
    whole = Undisturbed(finished(home / "runs"), began, time.monotonic() - started)
    shutil.rmtree(home)
    return whole


def disturbed(home: Path, kills: int, whole: Undisturbed, chance: random.Random) -> Run:
    """Run and kill until so many kills have hit or the run is done; after the last one it is let alone."""
    recipe.write(home)
    run, started = Run(), time.monotonic()
    while not run.completed and not run.failure:
        before = finished(home / "runs")
        after = (
            chance.uniform(MIN_SECONDS, max(LEAST_WINDOW, whole.seconds_left(before)))
            if len(run.kills) < kills
            else None
        )
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
