"""The connection to a Kubeflow Pipelines server. The one place that makes a `kfp.Client`."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import kfp
import kfp_server_api as api
from kfp.client.set_volume_credentials import ServiceAccountTokenVolumeCredentials
from urllib3.exceptions import HTTPError

from components.platform.errors import UserError

REQUEST_SECONDS = 60
PAGE_SIZE = 100
EQUALS = 1  # kfp's number for this operation of a filter
REASON_LENGTH = 200
HOST_VARIABLE = "KF_PIPELINES_ENDPOINT"  # kfp's own name for it
TOKEN_VARIABLE, COOKIE_VARIABLE = "KFP_TOKEN", "KFP_COOKIE"
# Where a cluster puts a token into a pod that may use KFP; the name is kfp's own
TOKEN_PATH_VARIABLE = "KF_PIPELINES_SA_TOKEN_PATH"


class KfpError(UserError):
    """The server refused, or can't be reached (`status` is None)."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status

    @property
    def is_passing(self) -> bool:
        """It may go well next time: the server was not reached, or is overloaded."""
        return self.status is None or self.status == 429 or self.status >= 500


class Connection:
    """Requests to a server, each with a time limit. Errors leave out the headers, which hold credentials."""

    def __init__(self, host: str | None) -> None:
        """Raises KfpError when the server can't be reached."""
        self.host = host or os.environ.get(HOST_VARIABLE)
        credentials = ServiceAccountTokenVolumeCredentials() if os.environ.get(TOKEN_PATH_VARIABLE) else None
        with _quietly(), self.explained("connecting"):
            self.client = kfp.Client(
                host=self.host,
                # Requests name their namespace themselves. But without one here the client asks the server for it,
                # again and again for 25 seconds when it is refused; and in a pod this is where it looks for the server.
                namespace="none" if self.host else "kubeflow",
                existing_token=os.environ.get(TOKEN_VARIABLE),
                cookies=os.environ.get(COOKIE_VARIABLE),
                credentials=credentials,
            )

    def call(self, action: str, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """One request; the client by itself would wait for ever for a server that is silent.

        Args:
            action: what it is for, told when it fails.

        Raises:
            KfpError: the server refused, or can't be reached.
        """
        with self.explained(action):
            return method(*arguments, _request_timeout=REQUEST_SECONDS, **options)

    def named(self, listing: Callable[..., Any], field: str, name: str, **scope: str | None) -> list[Any]:
        """Everything in a listing that has this display name."""
        predicate = {"operation": EQUALS, "key": "display_name", "stringValue": name}
        options = {key: value for key, value in scope.items() if value is not None}
        options |= {"filter": json.dumps({"predicates": [predicate]}), "page_size": PAGE_SIZE}
        found, token = [], ""
        while True:
            page = self.call(f"looking for {name}", listing, page_token=token, **options)
            found += getattr(page, field) or []
            token = page.next_page_token
            if not token:
                return found

    @contextlib.contextmanager
    def explained(self, action: str) -> Iterator[None]:
        host = self.host or "the cluster's own address"
        try:
            yield
        except api.ApiException as error:
            remedy = f"; check {TOKEN_VARIABLE} or {COOKIE_VARIABLE}" if error.status in (401, 403) else ""
            raise KfpError(f"KFP at {host}: {action}: {error.status} {_reason(error)}{remedy}", error.status) from None
        except (HTTPError, OSError) as error:  # OSError: also kfp's own TimeoutError
            raise KfpError(
                f"KFP at {host} can't be reached ({type(error).__name__}); check cluster.kubeflow.host or "
                f"{HOST_VARIABLE}, and the way there (kubectl port-forward, say)"
            ) from None


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """kfp warns of servers of years ago, logs tracebacks while it tries again, and prints."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def _reason(error: api.ApiException) -> str:
    """What the server says, without its stack."""
    try:
        body = json.loads(error.body)
        text = str(body.get("message") or body.get("error") or error.reason)
    except (TypeError, ValueError, AttributeError):
        text = str(error.reason)
    return text[:REASON_LENGTH]
