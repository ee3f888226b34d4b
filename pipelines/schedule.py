"""`meditron schedule`: run a recipe at fixed times, as one recurring run on the server."""

from __future__ import annotations

from components.platform.errors import InputError, UserError
from pipelines.kfp_server import KfpServer, Schedule
from pipelines.recipe import Recipe
from pipelines.submission import Submission
from pipelines.submit import warn_of_tags

CONTINUE_FROM = "champion"
"""The version that scheduled runs go on from: whichever this alias points at when they start."""


def set_schedule(submission: Submission, cron: str) -> None:
    """Run the submission at the times that `cron` says; a schedule that the recipe has already is replaced.

    Raises:
        InputError: `cron` is no such expression.
    """
    expression = with_seconds(cron)
    server = KfpServer(submission.recipe.cluster.kubeflow)
    warn_of_tags(submission)
    version = server.upload(submission)
    print(_describe(server.replace_schedule(version, submission.recipe.name, expression)))


def show_schedule(recipe: Recipe) -> None:
    for schedule in _existing(recipe)[1]:
        print(_describe(schedule))


def pause_schedule(recipe: Recipe) -> None:
    server, schedules = _existing(recipe)
    for schedule in schedules:
        server.disable_schedule(schedule.id)
        print(f"schedule {schedule.id} is off; back on with --on")


def resume_schedule(recipe: Recipe) -> None:
    server, schedules = _existing(recipe)
    for schedule in schedules:
        server.enable_schedule(schedule.id)
        print(f"schedule {schedule.id} is on")


def delete_schedule(recipe: Recipe) -> None:
    server, schedules = _existing(recipe)
    for schedule in schedules:
        server.delete_schedule(schedule.id)
        print(f"schedule {schedule.id} is deleted")


def with_seconds(cron: str) -> str:
    """KFP's form of a cron expression, which begins with a field for seconds.

    Raises:
        InputError: there are neither five nor six fields.
    """
    fields = cron.split()
    if len(fields) not in (5, 6):
        raise InputError(f"--cron {cron!r}: expected minute, hour, day, month and weekday, such as '0 3 * * 1'")
    return " ".join(fields if len(fields) == 6 else ["0", *fields])


def _existing(recipe: Recipe) -> tuple[KfpServer, list[Schedule]]:
    server = KfpServer(recipe.cluster.kubeflow)
    schedules = server.schedules(recipe.name)
    if not schedules:
        raise UserError(f"recipe {recipe.name} has no schedule; make one with --cron")
    return server, schedules


def _describe(schedule: Schedule) -> str:
    state = "on" if schedule.is_enabled else "off"
    return f"schedule {schedule.id}  {schedule.cron}  {state}, {schedule.description}"
