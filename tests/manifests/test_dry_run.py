"""A cluster's own word on the manifests, where KUBECONFIG names one; nothing is created."""

import os
import subprocess

import pytest

from tests.manifests.rendering import OVERLAYS


@pytest.mark.slow
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_cluster_accepts_the_overlay(manifests, overlay):
    if "KUBECONFIG" not in os.environ:
        pytest.skip("KUBECONFIG names no cluster to ask")
    if subprocess.run(["kubectl", "get", "namespace", "meditron"], capture_output=True).returncode != 0:
        pytest.skip("the cluster has no namespace meditron: kubectl apply -f manifests/base/namespace.yaml")
    answer = subprocess.run(
        ["kubectl", "apply", "--server-side", "--dry-run=server", "-k", manifests / "overlays" / overlay],
        capture_output=True,
        text=True,
    )
    if "kueue" in answer.stderr and "no matches for kind" in answer.stderr:
        pytest.skip("the cluster has no Kueue")
    assert answer.returncode == 0, answer.stderr
