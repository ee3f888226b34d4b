"""Telling a server that is away for a while from one that refuses."""

from __future__ import annotations

from components.platform.errors import UserError


class OutageError(UserError):
    """MLflow does not answer; what was to be recorded is kept, and running again goes on from there."""


def is_outage(error: BaseException) -> bool:
    """Whether MLflow, or the network to it, may be well again later; a refusal (4xx) will not."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    if isinstance(error, MlflowException):
        return error.get_http_status_code() >= 500  # connections that fail are reported so, too
    return isinstance(error, RequestException | ConnectionError | TimeoutError)
