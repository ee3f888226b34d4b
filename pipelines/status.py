"""`meditron status`: the newest runs, or the steps of one."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from pipelines.following import describe, follow
from pipelines.kfp_server import KfpServer
from pipelines.recipe import Recipe
from pipelines.run_state import PENDING, Run, Task, duration

LATEST = 10


def show_runs(recipe: Recipe) -> None:
    server, now = KfpServer(recipe.cluster.kubeflow), datetime.now(UTC)
    table = _table(f"Runs of experiment {server.settings.experiment}", "run", "name", "state", "began", "took")
    for run in server.latest_runs(LATEST):
        table.add_row(run.id, run.name, run.state.lower(), _at(run.start), duration(run.seconds(now)))
    _print(table)


def show_run(recipe: Recipe, run_id: str) -> None:
    server, now = KfpServer(recipe.cluster.kubeflow), datetime.now(UTC)
    run = server.run(run_id)
    table = _table(f"{run.name}: {run.state.lower()}, {duration(run.seconds(now))}", "step", "began", "state")
    for task in run.tasks:
        table.add_row(task.name, _at(task.start), _state(run, task, now))
    _print(table)
    print(server.page(run_id))


def watch_run(recipe: Recipe, run_id: str, recipe_name: str) -> None:
    """Raises UserError when the run fails."""
    server = KfpServer(recipe.cluster.kubeflow)
    follow(server, run_id, f"meditron status --recipe {recipe_name} {run_id} --follow")


def _state(run: Run, task: Task, now: datetime) -> str:
    if run.has_ended and task.state == PENDING:
        return "not started"
    running = f", {duration(task.seconds(now))} so far" if task.start and not task.end else ""
    return describe(task, now) + running


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table


def _print(table: Table) -> None:
    Console(width=120, highlight=False).print(table)


def _at(time: datetime | None) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}" if time else ""
