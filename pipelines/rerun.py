"""`meditron rerun`: the submission of an earlier run, from what MLflow keeps of it."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

from components.platform.errors import UserError
from components.platform.predecessor import PREDECESSOR_TAG
from components.platform.tracking.notes import read_note
from components.platform.tracking.submissions import read_submission
from components.platform.tracking.tracker import SQLITE
from pipelines.kfp_connection import HOST_VARIABLE
from pipelines.recipe import Recipe
from pipelines.submission import Submission
from pipelines.versions import code_version, commit, package_version


def earlier_submission(tracking_uri: str, run_id: str) -> Submission:
    """What the run with this MLflow id (or the run that this stage belongs to) was submitted from.

    Raises:
        InputError: MLflow has no such run, or no record of its submission.
    """
    submission = Submission.from_json(read_submission(tracking_uri, run_id))
    if submission.continue_from is None:
        return submission
    version = read_note(tracking_uri, run_id, PREDECESSOR_TAG)  # the alias may point elsewhere by now
    return dataclasses.replace(submission, continue_from=version or submission.continue_from)


def runs_here(recipe: Recipe) -> bool:
    """Whether a recipe is for one machine: it names no cluster, neither to run its ranks nor to submit to."""
    has_server = recipe.cluster.kubeflow.host or os.environ.get(HOST_VARIABLE)
    return recipe.platform.launcher.kind == "torchrun" and not has_server


def check_same_code(submission: Submission) -> None:
    """Raises UserError when it was made with other code, which would compile it to something else."""
    if submission.code != code_version():
        raise UserError(f"{_difference(submission)}; {_remedy(submission)}, and run this again")


def for_this_code(submission: Submission) -> Submission:
    """The same recipe and data with the code that is here; what is different is told.

    What that code makes differently is made anew, the rest is found again.
    """
    if submission.code == code_version():
        return submission
    print(
        f"warning: {_difference(submission)}, so results may differ; for the same ones {_remedy(submission)}",
        file=sys.stderr,
    )
    return dataclasses.replace(submission, code=code_version(), commit=commit(), version=package_version())


def check_place(submission: Submission, tracking_uri: str) -> None:
    """See that the recipe's paths mean the same from here as they did for the run.

    Raises:
        UserError: its MLflow is another file from here.
    """
    named = submission.recipe.platform.tracking.uri
    if named.startswith(SQLITE) and tracking_uri.startswith(SQLITE) and _path(named) != _path(tracking_uri):
        raise UserError(
            f"the recipe's paths begin where the run was started: {named} is not {tracking_uri} from here; go to that "
            "folder, and run this again"
        )


def _path(uri: str) -> Path:
    return Path(uri.removeprefix(SQLITE)).resolve()


def _difference(submission: Submission) -> str:
    return f"the run was made with code {submission.code}, this is {code_version()}"


def _remedy(submission: Submission) -> str:
    return f"install version {submission.version} or check out commit {submission.commit or 'unknown'}"
