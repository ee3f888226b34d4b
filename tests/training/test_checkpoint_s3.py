"""Checkpoints on S3, as in a folder: complete or not there, checked by their content, through passing trouble."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
import torch
import torch.distributed as dist

from components.platform import storage
from components.platform.storage import s3 as access
from components.training.checkpoint import CheckpointError, Checkpoints, open_store
from components.training.parallel.layout import ParallelLayout
from components.training.process import Process
from tests.conftest import SECRET
from tests.platform.faults import Fault, FaultyProxy
from tests.training.ranks import outcomes, run_ranks
from tests.training.test_checkpoint_folder import LENGTH, NAME, state
from tests.training.test_resume import assert_same, make_job, train, train_and_die_while_saving
from tests.training.tiny import tiny_settings


@dataclass(frozen=True)
class Prefix:
    """Checkpoints below an S3 address, and a client that gets there past proxies."""

    root: str
    client: object

    def names(self) -> list[str]:
        bucket, _, key = self.root.removeprefix("s3://").partition("/")
        listing = self.client.list_objects_v2(Bucket=bucket, Prefix=f"{key}/")
        return [item["Key"].removeprefix(f"{key}/") for item in listing.get("Contents", [])]

    def put(self, name: str, content: bytes) -> None:
        bucket, _, key = f"{self.root}/{name}".removeprefix("s3://").partition("/")
        self.client.put_object(Bucket=bucket, Key=key, Body=content)


@pytest.fixture
def prefix(bucket: str, s3_server: str) -> Prefix:
    return Prefix(f"{bucket}/runs/checkpoints/pretrain/0123", boto3.client("s3", endpoint_url=s3_server))


@pytest.fixture
def world() -> Iterator[None]:
    """A world of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def proxy(bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(s3_server, SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0.01)
    access.forget_client()
    yield proxy
    proxy.close()


def open_prefix(prefix: Prefix) -> Checkpoints:
    process = Process(ParallelLayout(1, 1, 1, rank=0), groups=None, device=torch.device("cpu"))
    return Checkpoints(open_store(prefix.root, 0), process, keep=2, keep_every=6, timeout_minutes=1)


def save(prefix: Prefix, *iterations: int) -> None:
    run = open_prefix(prefix)
    for iteration in iterations:
        run.save(iteration, state(float(iteration)), step=iteration)
        run.wait()


def assert_resumes_from(prefix: Prefix, iteration: int) -> None:
    run, fragments = open_prefix(prefix), state(0.0)
    assert run.newest_intact() == iteration
    assert run.load(iteration, fragments) == iteration
    assert all(
        torch.equal(tensor, torch.full((LENGTH,), float(iteration))) for tensor in fragments[NAME].tensors.values()
    )


def test_newest_and_every_so_many_stay(prefix: Prefix, world: None) -> None:
    save(prefix, 2, 4, 6, 8, 10, 12)
    kept = [f"iteration-{iteration:07}" for iteration in (6, 10, 12)]
    assert prefix.names() == [
        f"{name}/{file}" for name in kept for file in ("checkpoint.json", "rank-00000.safetensors")
    ]
    assert_resumes_from(prefix, 12)


def test_a_damaged_object_is_passed_over(prefix: Prefix, world: None, capsys: pytest.CaptureFixture) -> None:
    save(prefix, 2, 4)
    name = "iteration-0000004/rank-00000.safetensors"
    prefix.put(name, b"something else")
    assert_resumes_from(prefix, 2)
    assert f"iteration 4 is passed over: {prefix.root}/{name}: bytes is 14" in capsys.readouterr().out
    save(prefix, 4)
    assert_resumes_from(prefix, 4)


def test_a_lost_object_is_passed_over(prefix: Prefix, world: None, capsys: pytest.CaptureFixture) -> None:
    save(prefix, 2, 4)
    storage.delete([f"{prefix.root}/iteration-0000004/rank-00000.safetensors"])
    assert_resumes_from(prefix, 2)
    assert "rank-00000.safetensors: no such object" in capsys.readouterr().out


def test_what_has_no_marker_is_not_seen_and_is_removed(prefix: Prefix, world: None) -> None:
    save(prefix, 2)
    before = prefix.names()
    for name in ("rank-00000.safetensors", "rank-00000.json"):
        prefix.put(f"iteration-0000004/{name}", b"half")
    prefix.put("iteration-0000002/rank-00000.json", b"of a save that was to replace it")
    assert_resumes_from(prefix, 2)
    assert prefix.names() == before


def test_passing_trouble_is_sat_out(prefix: Prefix, proxy: FaultyProxy, world: None) -> None:
    for method in ("PUT", "GET", "HEAD", "DELETE"):
        proxy.spoil(method, Fault(status=500), Fault(status=503, code="SlowDown"))
    save(prefix, 2, 4, 5)
    assert_resumes_from(prefix, 5)
    assert proxy.unused() == 0


def test_an_upload_that_fails_for_good_is_told(prefix: Prefix, proxy: FaultyProxy, world: None) -> None:
    save(prefix, 2)
    proxy.spoil_all("PUT", Fault(status=500))
    run = open_prefix(prefix)
    run.save(4, state(4.0), step=4)
    with pytest.raises(
        CheckpointError, match=f"iteration 4 could not be written: {prefix.root}/iteration-0000004/rank"
    ):
        run.wait()
    proxy.heal()
    assert_resumes_from(prefix, 2)


def on_s3(environment: dict[str, str], function: Callable[..., None], *args: object) -> None:
    """Runs on each rank: the server that ranks are forked from may be older than this test's environment."""
    from botocore.retries.standard import ExponentialBackoff

    ExponentialBackoff.delay_amount = lambda self, context: 0.01
    os.environ |= environment
    function(*args)


@pytest.mark.slow
def test_training_stops_when_nothing_can_be_uploaded(tmp_path: Path, prefix: Prefix, proxy: FaultyProxy) -> None:
    proxy.spoil_all("PUT", Fault(status=500))
    job = make_job(tmp_path / "run", tiny_settings((1, 1, 1), save_interval=2))
    [end] = outcomes(1, on_s3, dict(os.environ), train, job.model_copy(update={"checkpoints": prefix.root}))
    assert "CheckpointError: checkpoint of iteration 2 could not be written" in end.error


@pytest.mark.slow
def test_killed_and_resumed(tmp_path: Path, prefix: Prefix) -> None:
    """Killed in the middle of a save, and with no disk that outlives it: bit for bit as if it had not been."""
    settings = tiny_settings((1, 2, 1), save_interval=2)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_ranks(2, train, make_job(whole, settings))
    job = make_job(broken, settings).model_copy(update={"checkpoints": prefix.root})
    survivor, killed = outcomes(2, on_s3, dict(os.environ), train_and_die_while_saving, job, 4)
    assert (survivor.code, killed.code) == (1, -signal.SIGKILL)
    complete = [name for name in prefix.names() if name.endswith("checkpoint.json")]
    assert complete == ["iteration-0000002/checkpoint.json"]
    run_ranks(2, on_s3, dict(os.environ), train, job)
    assert_same(whole, broken)
    assert not (broken / "checkpoints").exists()
