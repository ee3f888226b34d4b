"""The cluster launcher with pods that really run: on a Kubernetes cluster if there is one, else as local processes.

For a cluster with the training operator set MEDITRON_TEST_KUBECONFIG (or KUBECONFIG) and MEDITRON_TEST_IMAGE (the
training image), and MEDITRON_TEST_NAMESPACE if the namespace is not "meditron".
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.platform.launcher import JobSpec, LaunchError, launch
from components.platform.launcher.cluster import Cluster as Client
from components.platform.launcher.kinds import PYTORCHJOB
from components.platform.launcher.settings import LauncherSettings
from tests.loopback import write_kubeconfig
from tests.platform.cluster import NAMESPACE, Cluster
from tests.platform.kubelet import Kubelet

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Backend:
    kubeconfig: str
    namespace: str
    image: str

    def settings(self) -> LauncherSettings:
        pods = {
            "namespace": self.namespace,
            "image": self.image,
            "gpus_per_node": 0,
            "shm_size": "64Mi",
            "poll_seconds": 1,
            "pending_timeout_seconds": 120,
        }
        launcher = {"kind": "pytorchjob", "timeout_seconds": 240, "grace_seconds": 2, "pytorchjob": pods}
        return LauncherSettings.model_validate(launcher)

    def jobs(self) -> list[str]:
        run = f"meditron-run={os.environ['KFP_RUN_ID']}"
        return [job["metadata"]["name"] for job in Client(self.namespace, 1).jobs(PYTORCHJOB, run)]


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    for variable in ("KFP_POD_NAME", "KFP_POD_UID"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("KFP_RUN_ID", f"test-{uuid.uuid4().hex[:8]}")
    kubeconfig = os.environ.get("MEDITRON_TEST_KUBECONFIG") or os.environ.get("KUBECONFIG")
    image = os.environ.get("MEDITRON_TEST_IMAGE")
    if kubeconfig and image:
        monkeypatch.setenv("KUBECONFIG", kubeconfig)
        backend = Backend(kubeconfig, os.environ.get("MEDITRON_TEST_NAMESPACE", NAMESPACE), image)
        yield backend
        for name in backend.jobs():
            Client(backend.namespace, 1).delete(PYTORCHJOB, name)
        return
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    cluster = Cluster()
    kubelet = Kubelet(cluster, tmp_path)
    write_kubeconfig(tmp_path / "kubeconfig", cluster.server_port)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    yield Backend(str(tmp_path / "kubeconfig"), NAMESPACE, "i")
    kubelet.close()
    cluster.close()


def job(statement: str, nodes: int = 2) -> JobSpec:
    """Two ranks on each node run a statement; `timeit` does so in any image."""
    return JobSpec("test", "timeit", ("-n1", "-r1", statement), nproc_per_node=2, nnodes=nodes)


def test_ranks_of_two_nodes_find_one_another_and_are_heard(backend: Backend, capfd: pytest.CaptureFixture[str]) -> None:
    sums = (
        "import torch, torch.distributed as d; d.init_process_group('gloo'); t = torch.ones(1) * (d.get_rank() + 1);"
        "d.all_reduce(t); print('sum', int(t), flush=True); d.destroy_process_group()"
    )
    launch(job(sums), backend.settings())
    lines = [line for line in capfd.readouterr().out.splitlines() if "sum" in line]
    assert sorted(lines) == ["[rank 1] sum 10", "[rank 2] sum 10", "[rank 3] sum 10", "sum 10"]

    launch(job(sums), backend.settings())  # as a step that is tried again after it has lost its pod
    assert "found it already submitted" in capfd.readouterr().out
    assert len(backend.jobs()) == 1


def test_first_failing_rank_is_named(backend: Backend) -> None:
    fail = "import os, time; os.environ['RANK'] == '3' and 1 / 0; time.sleep(300)"
    with pytest.raises(LaunchError) as caught:
        launch(job(fail), backend.settings())
    message = str(caught.value)
    assert message.startswith("test: rank 3 failed first (pod meditron-test-")
    assert "-worker-0" in message
    assert "[rank 3] ZeroDivisionError: division by zero" in message


def test_rank_that_is_killed_is_named(backend: Backend) -> None:
    die = "import os, signal, time; os.environ['RANK'] == '1' and os.kill(os.getpid(), signal.SIGKILL); time.sleep(300)"
    with pytest.raises(LaunchError, match=r"test: rank 1 failed first .*exit code 137\): it was killed \(SIGKILL\)"):
        launch(job(die, nodes=1), backend.settings())


LAUNCHER = """
import sys
from components.platform.launcher import LaunchInterrupted, launch
from components.platform.launcher.settings import LauncherSettings
from tests.platform.test_launcher_real_pods import job

try:
    launch(job("import time; print('at work', flush=True); time.sleep(300)"),
           LauncherSettings.model_validate_json(sys.argv[1]))
except LaunchInterrupted as error:
    sys.exit(f"INTERRUPTED {error}")
"""


def test_no_job_is_left_when_the_launcher_is_stopped(backend: Backend) -> None:
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, backend.settings().model_dump_json()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert any("at work" in line for line in launcher.stdout)
    assert len(backend.jobs()) == 1
    launcher.send_signal(signal.SIGTERM)
    assert "INTERRUPTED" in launcher.communicate(timeout=30)[1]
    assert backend.jobs() == []
