"""`meditron rerun`: the submission of an earlier run, from what MLflow keeps of it."""

from __future__ import annotations

from components.platform.errors import UserError
from components.platform.tracking.submissions import read_submission
from pipelines.submission import Submission
from pipelines.versions import code_version


def earlier_submission(tracking_uri: str, run_id: str) -> Submission:
    """What the run with this MLflow id (or the run that this stage belongs to) was submitted from.

    Raises:
        InputError: MLflow has no such run, or no record of its submission.
        UserError: it was made with other code, which would compile it to something else.
    """
    submission = Submission.from_json(read_submission(tracking_uri, run_id))
    if submission.code != code_version():
        raise UserError(
            f"MLflow run {run_id} was made with code {submission.code}, this is {code_version()}; install version "
            f"{submission.version} or check out commit {submission.commit or 'unknown'}, and run this again"
        )
    return submission
