"""Which Kubernetes cluster is meant, and who we are there."""

from __future__ import annotations

import os

from kubernetes import client, config

from components.platform.errors import UserError


def cluster_configuration() -> client.Configuration:
    """The cluster this pod runs in, else the one that KUBECONFIG or ~/.kube/config names.

    Raises:
        UserError: there is none.
    """
    configuration = client.Configuration()
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(configuration)
        else:
            config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=configuration)
    except config.ConfigException as error:
        raise UserError(f"no Kubernetes cluster is known: {error}; set KUBECONFIG") from None
    return configuration
