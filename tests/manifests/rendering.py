"""The manifests as `kubectl apply -k` would send them, with secrets made the way the guide says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
OVERLAYS = ("kind", "a100", "a100-kueue")
KUSTOMIZE = 5  # major version; older ones lack `labels` or components

Object = dict[str, Any]


def require_kubectl() -> None:
    """Skip the test where no kubectl of 2023 or later is installed."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed; the manifests are rendered with it (1.27 or later)")
    answer = subprocess.run(
        ["kubectl", "version", "--client", "-o", "json"], capture_output=True, text=True, check=True
    )
    version = json.loads(answer.stdout).get("kustomizeVersion", "v0")
    if int(version.removeprefix("v").split(".")[0]) < KUSTOMIZE:
        pytest.skip(f"kubectl renders with kustomize {version}; the manifests need kubectl 1.27 or later")


def guide_snippet(marker: str) -> str:
    """The shell block of docs/cluster.md that holds `marker`."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "cluster.md").read_text(), flags=re.DOTALL)
    (block,) = [block for block in blocks if marker in block]
    return block


def copy_with_secrets(folder: Path) -> Path:
    """A copy of the manifests in `folder`, its secrets made by the guide's own commands; the copy's path."""
    shutil.copytree(ROOT / "manifests", folder / "manifests", ignore=shutil.ignore_patterns("*.env"))
    for overlay in ("kind", "a100"):
        snippet = guide_snippet(".env.example").replace("overlays/kind", f"overlays/{overlay}")
        subprocess.run(["bash", "-euc", snippet], cwd=folder, check=True)
    return folder / "manifests"


def kustomize(folder: Path) -> list[Object]:
    """What `kubectl apply -k folder` would send.

    Raises:
        subprocess.CalledProcessError: kustomize refuses; its reason is in `stderr`.
    """
    answer = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(answer.stdout))


def one(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = [entry for entry in objects if (entry["kind"], entry["metadata"]["name"]) == (kind, name)]
    return found


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [entry for entry in objects if entry["kind"] == kind]


def pod_templates(objects: list[Object]) -> dict[str, Object]:
    """Pod templates by the name of what makes them."""
    kinds = ("Deployment", "StatefulSet", "Job")
    return {entry["metadata"]["name"]: entry["spec"]["template"] for entry in objects if entry["kind"] in kinds}
