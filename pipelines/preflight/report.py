"""`meditron preflight`: all checks of a recipe, as a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components.platform.errors import UserError
from pipelines.preflight.cluster import check_accounts, check_claims, check_job_kind, check_secrets
from pipelines.preflight.images import check_images
from pipelines.preflight.kubeflow import check_kfp
from pipelines.preflight.memory import check_memory
from pipelines.preflight.pool import check_pool
from pipelines.preflight.site import DoubtError, Site
from pipelines.preflight.sources import check_sources
from pipelines.preflight.tracking import check_mlflow
from pipelines.preflight.workspace import check_workspace
from pipelines.submission import Submission

OK, WARNING, FAILED = "ok", "warning", "FAILED"
COLOURS = {OK: "green", WARNING: "yellow", FAILED: "bold red"}

CHECKS: dict[str, Callable[[Site], str]] = {
    "source files": lambda site: check_sources(site.recipe),
    "memory": check_memory,
    "images": check_images,
    "workspace": check_workspace,
    "MLflow": check_mlflow,
    "KFP": check_kfp,
    "job kind": check_job_kind,
    "secrets": check_secrets,
    "volume claims": check_claims,
    "service accounts": check_accounts,
    "GPUs": check_pool,
}


@dataclass(frozen=True)
class Outcome:
    """What one check found; `text` is the remedy, too, where there is something to put right."""

    check: str
    status: str
    text: str


def preflight(submission: Submission) -> None:
    """Run all checks, whatever the others find, and print a table.

    Raises:
        UserError: a check failed.
    """
    site = Site(submission.recipe)
    outcomes = [_outcome(name, check, site) for name, check in CHECKS.items()]
    table = Table(title=f"Preflight of {submission.recipe.name}", title_justify="left", box=None, pad_edge=False)
    for column in ("check", "", "found"):
        table.add_column(column)
    for outcome in [Outcome("recipe", OK, "valid"), *outcomes]:
        table.add_row(outcome.check, f"[{COLOURS[outcome.status]}]{outcome.status}[/]", escape(outcome.text))
    Console(width=120, highlight=False).print(table)
    failed = [outcome.check for outcome in outcomes if outcome.status == FAILED]
    if failed:
        raise UserError(f"{len(failed)} of {len(outcomes) + 1} checks failed: {', '.join(failed)}")


def _outcome(name: str, check: Callable[[Site], str], site: Site) -> Outcome:
    try:
        return Outcome(name, OK, check(site))
    except DoubtError as doubt:
        return Outcome(name, WARNING, str(doubt))
    except UserError as error:
        return Outcome(name, FAILED, str(error))
