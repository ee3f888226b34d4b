"""A real MLflow server dies, hangs and comes back while stages are at work: nothing is lost, nothing told twice."""

import os
import signal
import subprocess
import sys
import time

import pytest
import requests
from mlflow.exceptions import MlflowException

from components.platform.context import PlatformSettings, TrackingSettings
from components.platform.tracking.outage import OutageError, is_outage
from components.platform.tracking.runs import deliver_leftovers, finish_pipeline, stage_run
from components.platform.tracking.spool import Entry, Spool, leftovers
from components.platform.tracking.tracker import Tracker
from tests.platform.test_mlflow_server import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Server:
    """An MLflow server that can be stopped and started again on the same data."""

    def __init__(self, folder):
        port = free_port()
        self.uri = f"http://127.0.0.1:{port}"
        self._command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
        self._command += [f"--backend-store-uri=sqlite:///{folder}/mlflow.db", f"--artifacts-destination={folder}"]
        self._log = (folder / "log.txt").open("a")
        self.start()

    def start(self):
        self._process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log, start_new_session=True)
        deadline = time.monotonic() + 120
        while not self._is_healthy():
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def signal(self, number):
        os.killpg(self._process.pid, number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self._process.wait()

    def _is_healthy(self):
        try:
            return requests.get(f"{self.uri}/health", timeout=2).ok
        except requests.RequestException:
            return False


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("mlflow"))
    yield server
    server.kill()


@pytest.fixture
def platform(tmp_path, server, monkeypatch, request):
    monkeypatch.setenv("KFP_RUN_ID", request.node.name)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracking = TrackingSettings(uri=server.uri, experiment="outages")
    return PlatformSettings(data=str(tmp_path), workspace=str(tmp_path / "runs"), tracking=tracking)


def recorded(platform, run):
    """(status, params, values of the loss, names of artifacts) of a run."""
    client = Tracker(platform).client
    found = client.get_run(run.run_id)
    history = sorted((point.step, point.value) for point in client.get_metric_history(run.run_id, "loss"))
    artifacts = sorted(entry.path for entry in client.list_artifacts(run.run_id))
    return found.info.status, found.data.params, history, artifacts


def report(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("a report")
    return path


def test_killed_in_the_middle_of_a_stage_and_back_before_its_end(platform, server, tmp_path, capsys):
    with stage_run(platform, "pretrain", {"lr": 0.1}) as run:
        run.log_history([{"iteration": 1, "loss": 3.0}])
        server.kill()
        run.log_history([{"iteration": 2, "loss": 2.0}])
        page = report(tmp_path)
        run.log_artifact(page)
        page.unlink()  # what a step leaves in a temporary folder
        server.start()
        run.log_history([{"iteration": 3, "loss": 1.0}])
    assert recorded(platform, run) == ("FINISHED", {"lr": "0.1"}, [(1, 3.0), (2, 2.0), (3, 1.0)], ["report.html"])
    assert "does not answer; going on" in capsys.readouterr().out
    assert leftovers(platform) == []


def test_away_for_a_whole_stage_the_next_one_delivers(platform, server, tmp_path, capsys):
    server.kill()
    began = time.time()
    with stage_run(platform, "pretrain", {"lr": 0.1}) as run:
        run.log_history([{"iteration": 1, "loss": 3.0}])
        run.log_artifact(report(tmp_path))
    ended = time.time()
    pipeline, spool = leftovers(platform)
    assert (pipeline.stage, spool.stage) == ("pipeline", "pretrain")
    assert f"what it was to be told lies in {spool.folder}, and the next step delivers it" in capsys.readouterr().out
    server.start()
    with stage_run(platform, "sft", {}):
        pass
    assert leftovers(platform) == []
    assert recorded(platform, run) == ("FINISHED", {"lr": "0.1"}, [(1, 3.0)], ["report.html"])
    client = Tracker(platform).client
    assert began - 0.01 <= client.get_run(run.run_id).info.end_time / 1000 <= ended + 0.01  # when it was, not when told
    [point] = client.get_metric_history(run.run_id, "loss")
    assert began - 0.01 <= point.timestamp / 1000 <= ended + 0.01


def test_a_server_that_hangs(platform, server, monkeypatch, capsys):
    with stage_run(platform, "pretrain", {}) as run:
        server.signal(signal.SIGSTOP)
        with monkeypatch.context() as patch:
            patch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
            for iteration in range(50):
                run.log_history([{"iteration": iteration, "loss": 1.0}])
        server.signal(signal.SIGCONT)
    assert capsys.readouterr().out.count("pretrain  MLflow at") == 1, "it waits once, not for each"
    assert len(recorded(platform, run)[2]) == 50


def test_delivered_twice_is_recorded_once(platform, server, monkeypatch):
    server.kill()
    with stage_run(platform, "pretrain", {"lr": 0.1}) as run:
        run.log_history([{"iteration": step, "loss": 3.0 - step} for step in range(3)])
    server.start()
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "clear", lambda spool: None)  # as if we died before
        deliver_leftovers(platform)
    assert [spool.stage for spool in leftovers(platform)] == ["pipeline", "pretrain"]
    deliver_leftovers(platform)
    assert leftovers(platform) == []
    assert recorded(platform, run)[2] == [(0, 3.0), (1, 2.0), (2, 1.0)]


def test_the_spool_of_a_stage_at_work_is_left_alone(platform, server):
    server.kill()
    with stage_run(platform, "pretrain", {}) as run:
        server.start()
        deliver_leftovers(platform)  # another step, side by side
        assert len(leftovers(platform)) == 1
        run.log_history([{"iteration": 1, "loss": 3.0}])
    assert recorded(platform, run)[2] == [(1, 3.0)]


def test_the_end_of_the_pipeline_is_told_later(platform, server):
    parent = Tracker(platform).parent_run()
    server.kill()
    finish_pipeline(platform, "FAILED")
    server.start()
    deliver_leftovers(platform)
    assert Tracker(platform).client.get_run(parent).info.status == "FAILED"


def test_a_workspace_on_s3_keeps_no_spool_for_the_next_step(platform, server, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDITRON_SCRATCH", str(tmp_path / "scratch"))
    remote = platform.model_copy(update={"workspace": "s3://bucket/runs"})
    server.kill()
    try:
        with pytest.raises(OutageError, match=r"The step's result is kept: run it again"), stage_run(remote, "sft", {}):
            pass
    finally:
        server.start()


def test_a_refusal_is_no_outage(platform, server):
    with pytest.raises(MlflowException) as caught, stage_run(platform, "sft", {}) as run:
        run.set_tags({"a" * 600: "too long a name"})
    assert not is_outage(caught.value)
    assert recorded(platform, run)[0] == "FAILED"
    assert leftovers(platform) == []


def test_a_torn_last_line_is_left_out(tmp_path):
    spool = Spool(tmp_path / "run-1" / "sft")
    spool.add(Entry("tags", {"values": {"a": "1"}}))
    with (spool.folder / "entries.jsonl").open("a") as file:
        file.write('{"operation": "tags", "da')
    assert spool.entries() == [Entry("tags", {"values": {"a": "1"}})]
    assert (spool.pipeline_run, spool.stage) == ("run-1", "sft")
