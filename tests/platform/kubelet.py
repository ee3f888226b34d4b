"""Runs the pods of PyTorchJobs on the test cluster as processes of this machine, as operator and kubelet would."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.platform.cluster import Cluster, Job


class Kubelet:
    """Starts the pods of each job that is submitted, and ends them when it is deleted."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster, self._folder = cluster, folder
        self._known: set[str] = set()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        for process in self._processes:
            process.kill()
            process.wait()

    def _work(self) -> None:
        while not self._closing.wait(0.02):
            for name, body in list(self._cluster.objects["pytorchjobs"].items()):
                if body["metadata"]["uid"] not in self._known:
                    self._known.add(body["metadata"]["uid"])
                    threading.Thread(target=self._run, args=(Job(self._cluster, "pytorchjobs", name),)).start()

    def _run(self, job: Job) -> None:
        replicas = job.body["spec"]["pytorchReplicaSpecs"]
        containers = [
            replica["template"]["spec"]["containers"][0]
            for replica in replicas.values()
            for _ in range(replica["replicas"])
        ]
        network = {
            "PET_NNODES": str(len(containers)),
            "PET_NPROC_PER_NODE": job.body["spec"]["nprocPerNode"],
            "PET_MASTER_ADDR": "127.0.0.1",
            "PET_MASTER_PORT": str(_free_port()),
        }
        pods = [
            self._start(job, node, container, network | {"PET_NODE_RANK": str(node)})
            for node, container in enumerate(containers)
        ]
        while self._is_there(job) and not self._closing.is_set():
            codes = [process.poll() for process in pods]
            if codes[0] == 0:
                job.succeed()
                break
            if any(codes):
                job.become("Failed", message="PyTorchJob failed")
                break
            time.sleep(0.02)
        for process in pods:
            process.send_signal(signal.SIGTERM)

    def _is_there(self, job: Job) -> bool:
        return job.name in self._cluster.objects["pytorchjobs"]

    def _start(self, job: Job, node: int, container: dict[str, Any], network: dict[str, str]) -> Any:
        message = self._folder / f"{job.name}-{node}"
        environment = {entry["name"]: entry["value"] for entry in container["env"]}
        process = subprocess.Popen(
            [sys.executable, *container["command"][1:]],
            env=os.environ | environment | network | {"MEDITRON_TERMINATION_LOG": str(message)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._processes.append(process)
        job.pod(node, "Running")
        threading.Thread(target=self._pass_log_on, args=(job, node, process, message), daemon=True).start()
        return _Pod(process, job, node, message)

    def _pass_log_on(self, job: Job, node: int, process: subprocess.Popen[bytes], message: Path) -> None:
        log = self._cluster.logs[job.pod_name(node)]
        for line in process.stdout:
            with self._cluster.changed:
                log.lines.append((time.time_ns(), line.decode()))
                self._cluster.changed.notify_all()


class _Pod:
    """A process whose end is the end of its pod."""

    def __init__(self, process: subprocess.Popen[bytes], job: Job, node: int, message: Path) -> None:
        self._process, self._job, self._node, self._message = process, job, node, message
        self._ended = False

    def poll(self) -> int | None:
        code = self._process.poll()
        if code is not None and not self._ended:
            self._ended = True
            text = self._message.read_text() if self._message.is_file() else ""
            self._job.end_pod(self._node, code if code >= 0 else 128 - code, message=text)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
