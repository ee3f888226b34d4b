"""Servers that the verbs talk to, and a recipe that names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.recipe import RECIPES
from tests.loopback import write_kubeconfig
from tests.pipelines.kfp_fake import KfpFake
from tests.pipelines.kubernetes_fake import KubernetesFake


@pytest.fixture(autouse=True)
def no_servers_of_this_machine(monkeypatch, tmp_path):
    """Nothing outside of a test says where servers are or who we are."""
    for name in ("KF_PIPELINES_ENDPOINT", "KFP_TOKEN", "KFP_COOKIE", "MLFLOW_TRACKING_URI", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "no-cluster"))


@pytest.fixture
def kfp():
    server = KfpFake()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def kubernetes(tmp_path, monkeypatch):
    server = KubernetesFake()
    write_kubeconfig(tmp_path / "kubeconfig", server.server_port)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    yield server
    server.shutdown()
    server.server_close()


def cluster_recipe(folder: Path, host: str, base: str = "meditron-7b", **changes: Any) -> str:
    """A file with a recipe for a cluster whose KFP server is `host`; `changes` are merged into sections."""
    content = yaml.safe_load((RECIPES / f"{base}.yaml").read_text())
    content["cluster"]["kubeflow"] = {"host": host, "experiment": "tests"}
    _merge(content, changes)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return str(path)


def _merge(into: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


@pytest.fixture
def recipe(tmp_path, kfp):
    return cluster_recipe(tmp_path, kfp.url)
