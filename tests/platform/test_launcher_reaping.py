"""Jobs whose run is over are ended, and no others."""

from __future__ import annotations

from typing import Any

import pytest

from components.platform.launcher.job import LaunchError
from components.platform.launcher.reaping import reap
from tests.platform.cluster import NAMESPACE, Cluster


def put(cluster: Cluster, name: str, run: str | None, plural: str = "pytorchjobs", condition: str = "Running") -> None:
    body: dict[str, Any] = {"metadata": {"name": name, "labels": {"meditron-run": run} if run else {}}}
    cluster.create(plural, body | {"status": {"conditions": [{"type": condition, "status": "True"}]}})


def test_jobs_of_runs_that_are_over(cluster: Cluster) -> None:
    put(cluster, "alive", "run-1")
    put(cluster, "left-over", "run-2")
    put(cluster, "another-of-it", "run-2")
    put(cluster, "done", "run-2", condition="Succeeded")  # holds nothing, and the operator removes it
    put(cluster, "failed", "run-2", condition="Failed")
    put(cluster, "of-somebody-else", None)
    put(cluster, "train-left-over", "run-2", plural="trainjobs")
    put(cluster, "train-done", "run-2", plural="trainjobs", condition="Complete")  # nobody else removes it
    cluster.fail("DELETE", "left-over", 500)
    asked = []

    def is_alive(run: str) -> bool:
        asked.append(run)
        return run == "run-1"

    assert reap(NAMESPACE, is_alive) == ["left-over", "another-of-it", "train-left-over", "train-done"]
    assert sorted(asked) == ["run-1", "run-2"]
    assert cluster.objects["pytorchjobs"].keys() == {"alive", "done", "failed", "of-somebody-else"}
    assert cluster.objects["trainjobs"] == {}


def test_cluster_without_trainjobs(cluster: Cluster) -> None:
    put(cluster, "left-over", "run")
    cluster.fail("GET", "trainjobs", 404)
    assert reap(NAMESPACE, lambda _: False) == ["left-over"]


def test_doubt_deletes_nothing(cluster: Cluster) -> None:
    put(cluster, "job", "run")

    def is_alive(run: str) -> bool:
        raise LaunchError("can't tell")

    with pytest.raises(LaunchError, match="can't tell"):
        reap(NAMESPACE, is_alive)
    assert cluster.objects["pytorchjobs"].keys() == {"job"}
