"""The verbs of `meditron` that talk to a cluster: their options, and what each calls."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from components.platform.errors import UserError

if TYPE_CHECKING:
    from pipelines.recipe import Recipe
    from pipelines.submission import Submission


def add_cluster_verbs(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    preflight = verbs.add_parser("preflight", help="check all that a run on a cluster needs, before anything is spent")
    _recipe_argument(preflight)
    add_images_argument(preflight)
    preflight.set_defaults(verb=_preflight)

    submit = verbs.add_parser("submit", help="start a run on a cluster and watch it")
    _recipe_argument(submit)
    add_images_argument(submit)
    add_continue_argument(submit)
    _run_arguments(submit)
    submit.set_defaults(verb=_submit)

    status = verbs.add_parser("status", help="the newest runs, or the steps of one")
    _recipe_argument(status)
    status.add_argument("run", nargs="?", help="id of a run (default: list the newest)")
    status.add_argument("--follow", action="store_true", help="go on showing changes until it ends")
    status.set_defaults(verb=_status)

    cancel = verbs.add_parser("cancel", help="end a run and its training jobs")
    _recipe_argument(cancel)
    cancel.add_argument("run", help="id of the run")
    cancel.set_defaults(verb=_cancel)

    schedule = verbs.add_parser("schedule", help="run a recipe at fixed times (default: show when)")
    _recipe_argument(schedule)
    add_images_argument(schedule)
    what = schedule.add_mutually_exclusive_group()
    what.add_argument("--cron", help="minute, hour, day, month, weekday in the server's time zone, such as '0 3 * * 1'")
    what.add_argument("--off", action="store_true", help="start no more runs for now")
    what.add_argument("--on", action="store_true", help="start runs again; missed ones are not made up for")
    what.add_argument("--delete", action="store_true", help="forget the schedule")
    schedule.set_defaults(verb=_schedule)

    reap = verbs.add_parser("reap", help="delete training jobs whose run has ended or is gone")
    _recipe_argument(reap)
    reap.add_argument("--dry-run", action="store_true", help="only say of which runs")
    reap.set_defaults(verb=_reap)

    rerun = verbs.add_parser("rerun", help="repeat an earlier run, from what MLflow keeps of it")
    rerun.add_argument("--mlflow-run", required=True, metavar="ID", help="MLflow run of the pipeline or of a stage")
    add_tracking_argument(rerun)
    rerun.add_argument("-o", "--output", type=Path, help="only write the pipeline YAML here")
    rerun.add_argument(
        "--local", action="store_true", help="on this machine (default where the recipe names no cluster)"
    )
    _run_arguments(rerun)
    rerun.set_defaults(verb=_rerun)


def add_images_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images", type=Path, metavar="LOCK", help="YAML file of image: digest; every image is then named by digest"
    )


def add_continue_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--continue-from",
        metavar="VERSION",
        help="go on from this registered version (its number, or an alias such as champion) with what is new since",
    )


def add_tracking_argument(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--tracking-uri",
        default=os.environ.get("MLFLOW_TRACKING_URI"),
        help="MLflow server, or sqlite:///FILE (default: $MLFLOW_TRACKING_URI)",
    )


def _recipe_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recipe", required=True, help="meditron-7b, meditron-70b, or a YAML file")


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", help="name of the run (default: the recipe's, and the time)")
    parser.add_argument("--detach", action="store_true", help="don't watch the run")


def run_here(submission: Submission) -> None:
    """Run on this machine, and sum up."""
    from pipelines.preflight.sources import check_sources
    from pipelines.running import run
    from pipelines.summary import print_summary

    check_sources(submission.recipe)
    if registered := run(submission):
        print_summary(registered, submission.recipe.platform)
    else:
        print("The run has ended early: too little is new. The model stays as it is.")


# As in cli.py, the verbs import what they need when they are called.


def submission_of(arguments: argparse.Namespace, continue_from: str | None = None) -> Submission:
    """What `--recipe` and `--images` name; `continue_from` is that of `Submission`."""
    from pipelines.images import read_lock
    from pipelines.submission import Submission

    images = read_lock(arguments.images) if arguments.images else None
    return Submission.of(arguments.recipe, images=images, continue_from=continue_from)


def _recipe(arguments: argparse.Namespace) -> Recipe:
    from pipelines.recipe import load_recipe

    return load_recipe(arguments.recipe)


def _preflight(arguments: argparse.Namespace) -> None:
    from pipelines.preflight.report import preflight

    preflight(submission_of(arguments))


def _submit(arguments: argparse.Namespace) -> None:
    from pipelines.submit import submit

    submit(
        submission_of(arguments, arguments.continue_from), arguments.recipe, arguments.name, watch=not arguments.detach
    )


def _status(arguments: argparse.Namespace) -> None:
    from pipelines.status import show_run, show_runs, watch_run

    if arguments.run is None:
        show_runs(_recipe(arguments))
    elif arguments.follow:
        watch_run(_recipe(arguments), arguments.run, arguments.recipe)
    else:
        show_run(_recipe(arguments), arguments.run)


def _cancel(arguments: argparse.Namespace) -> None:
    from pipelines.cancel import cancel

    cancel(_recipe(arguments), arguments.run)


def _schedule(arguments: argparse.Namespace) -> None:
    from pipelines import schedule

    if arguments.cron is not None:
        schedule.set_schedule(submission_of(arguments, schedule.CONTINUE_FROM), arguments.cron)
    elif arguments.off:
        schedule.pause_schedule(_recipe(arguments))
    elif arguments.on:
        schedule.resume_schedule(_recipe(arguments))
    elif arguments.delete:
        schedule.delete_schedule(_recipe(arguments))
    else:
        schedule.show_schedule(_recipe(arguments))


def _reap(arguments: argparse.Namespace) -> None:
    from pipelines.jobs import delete_jobs_without_run

    found = delete_jobs_without_run(_recipe(arguments), pretend=arguments.dry_run)
    what = "jobs would be deleted of these runs" if arguments.dry_run else "jobs deleted"
    print(f"{what}: {', '.join(found) or 'none'}")


def _rerun(arguments: argparse.Namespace) -> None:
    from pipelines.compiling import compile_submission
    from pipelines.rerun import check_place, check_same_code, earlier_submission, for_this_code, runs_here
    from pipelines.submit import submit

    if not arguments.tracking_uri:
        raise UserError("give --tracking-uri or set MLFLOW_TRACKING_URI: where is the run?")
    submission = earlier_submission(arguments.tracking_uri, arguments.mlflow_run)
    if arguments.output:
        check_same_code(submission)
        compile_submission(submission, arguments.output)
        print(f"wrote {arguments.output}")
    elif arguments.local or runs_here(submission.recipe):
        check_place(submission, arguments.tracking_uri)
        run_here(for_this_code(submission))
    else:
        check_same_code(submission)
        submit(submission, submission.recipe.name, arguments.name, watch=not arguments.detach)
