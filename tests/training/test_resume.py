"""A run that was interrupted, by a signal or by brute force, ends bit for bit like one that was not."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from components.platform.launcher import INTERRUPTED_EXIT_CODE
from components.training.base import write_new_model
from components.training.job import CorpusSource, TrainingJob, Validation
from components.training.metrics import read_metrics
from components.training.settings import SftSettings
from tests.training.ranks import outcomes, run_ranks
from tests.training.tiny import TINY, make_corpus, tiny_settings

ITERATIONS = 6


def make_job(folder: Path, settings: SftSettings) -> TrainingJob:
    """A run of six iterations with a checkpoint every two."""
    corpus = folder.parent / "corpus"
    base = folder.parent / "base"
    if not corpus.exists():
        make_corpus(corpus)
        write_new_model(TINY.with_vocab_size(400), 0.1, 7, base)
    groups = ("guidelines", "papers")
    return TrainingJob(
        name="test",
        settings=settings,
        data=CorpusSource(
            prefixes={group: corpus / "tokens" / "train" / group for group in groups},
            weights=dict.fromkeys(groups, 1.0),
        ),
        validation=Validation(
            prefixes={group: corpus / "tokens" / "validation" / group for group in groups}, num_samples=5, interval=3
        ),
        train_iters=ITERATIONS,
        vocab_size=400,
        base=base,
        tokenizer=corpus / "tokenizer",
        output=folder,
    )


def train(job: TrainingJob, at: int | None = None, how: signal.Signals | None = None) -> None:
    """Runs on each rank, as the worker does; rank 1 is sent a signal in the middle of iteration `at`."""
    import sys

    from components.training.engine.engine import Engine
    from components.training.process import start_process
    from components.training.signals import StopRequest
    from components.training.trainer import Trainer, TrainingInterruptedError

    stop = StopRequest()
    stop.listen()
    process = start_process(job.settings.layout, timeout_minutes=2)
    trainer = Trainer(job, process, stop)
    whole_step = Engine.train_step

    def step(engine: Engine, *arguments: object) -> object:
        if process.layout.rank == 1 and trainer.iteration + 1 == at:
            os.kill(os.getpid(), how)
        return whole_step(engine, *arguments)

    Engine.train_step = step
    try:
        trainer.run()
    except TrainingInterruptedError:
        sys.exit(INTERRUPTED_EXIT_CODE)


def curve(folder: Path) -> list[tuple[float, ...]]:
    """All figures but the speed."""
    rows = read_metrics(folder / "metrics.jsonl")
    return [tuple(value for key, value in row.items() if key != "tokens_per_second") for row in rows]


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def assert_same(one: Path, other: Path) -> None:
    assert curve(one) == curve(other)
    names = sorted(path.name for path in (one / "model").iterdir())
    assert names == sorted(path.name for path in (other / "model").iterdir())
    for name in names:
        assert (one / "model" / name).read_bytes() == (other / "model" / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "dtype"), [((2, 1, 1), "fp32"), ((1, 1, 2), "fp32"), ((1, 1, 2), "bf16")], ids=str)
def test_killed_and_resumed(tmp_path: Path, layout: tuple[int, int, int], dtype: str) -> None:
    settings = tiny_settings(layout, dtype=dtype, save_interval=2)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_ranks(2, train, make_job(whole, settings))
    assert checkpoints(whole) == ["iteration-0000004", "iteration-0000006"]

    survivor, killed = outcomes(2, train, make_job(broken, settings), 6, signal.SIGKILL)
    assert killed.code == -signal.SIGKILL
    assert survivor.code == 1  # told by the broken connection, not by a timeout
    assert checkpoints(broken) == ["iteration-0000002", "iteration-0000004"]
    run_ranks(2, train, make_job(broken, settings))
    assert_same(whole, broken)


@pytest.mark.slow
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    """One flipped bit in one rank's file: all ranks go back to the checkpoint before."""
    settings = tiny_settings((1, 2, 1), save_interval=2)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_ranks(2, train, make_job(whole, settings))
    outcomes(2, train, make_job(broken, settings), 6, signal.SIGKILL)
    damaged = broken / "checkpoints" / "iteration-0000004" / "rank-00001.safetensors"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    run_ranks(2, train, make_job(broken, settings))
    assert_same(whole, broken)


@pytest.mark.slow
def test_sigterm_saves_and_leaves(tmp_path: Path) -> None:
    """The iteration under way is finished, all ranks leave with the documented code, and nothing is done twice."""
    settings = tiny_settings((2, 1, 1), save_interval=100)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_ranks(2, train, make_job(whole, settings))
    ends = outcomes(2, train, make_job(broken, settings), 3, signal.SIGTERM)
    assert [end.code for end in ends] == [INTERRUPTED_EXIT_CODE] * 2
    assert checkpoints(broken) == ["iteration-0000003"]
    run_ranks(2, train, make_job(broken, settings))
    assert_same(whole, broken)


@pytest.mark.slow
def test_another_layout_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_ranks(1, train, make_job(folder, tiny_settings((1, 1, 1))))
    for end in outcomes(2, train, make_job(folder, tiny_settings((1, 1, 2)))):
        assert "resume in the layout it was written by" in end.error


def test_divergence_stops_the_run(tmp_path: Path) -> None:
    settings = tiny_settings((1, 1, 1), lr=1e30, clip_grad=0.0)
    [end] = outcomes(1, train, make_job(tmp_path / "run", settings))
    assert "training diverged at iteration 2" in end.error
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_unfinished_checkpoints_are_ignored_and_removed(tmp_path: Path) -> None:
    """What a crash leaves behind in the middle of saving is neither trusted nor kept."""
    folder = tmp_path / "run"
    settings = tiny_settings((1, 1, 1), save_interval=3)
    hidden = folder / "checkpoints" / ".iteration-0000002.unfinished"
    without_marker = folder / "checkpoints" / "iteration-0000001"
    for path in (hidden, without_marker):
        path.mkdir(parents=True)
        (path / "rank-00000.safetensors").write_bytes(b"half")
    run_ranks(1, train, make_job(folder, settings))
    assert curve(folder)[-1][0] == ITERATIONS
    assert checkpoints(folder) == ["iteration-0000001", "iteration-0000003", "iteration-0000006"]
