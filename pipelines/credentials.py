"""Credentials stay out of recipes: what a recipe says ends in compiled YAML, in MLflow and in logs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlparse

# AWS_ENDPOINT_URL belongs to the credentials: the same keys mean nothing, or something else, at another endpoint.
_SECRET_NAME = re.compile(
    r"(^|_)(SECRET|PASSWORD|PASSWD|TOKEN|ACCESS_KEY|API_KEY|CREDENTIALS?)(_|$)|^AWS_ENDPOINT_URL", re.IGNORECASE
)


def refuse_secret_variables(names: Iterable[str]) -> None:
    """Raises:
    ValueError: an environment variable has a name that credentials have.
    """
    for name in names:
        if _SECRET_NAME.search(name):
            raise ValueError(
                f"{name}: credentials and endpoints don't belong in a recipe; put it in a Kubernetes secret and name "
                "that (cluster.secrets for the steps, launcher.pytorchjob.secret_env for the ranks)"
            )


def refuse_credentials_in(address: str) -> None:
    """Raises:
    ValueError: a URL has a user name or password in it.
    """
    url = urlparse(address)
    if url.username or url.password:
        raise ValueError(
            f"{url.scheme}://...@{url.hostname}: no user name or password in an address; MLflow reads "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, KFP's client KFP_TOKEN or KFP_COOKIE"
        )
