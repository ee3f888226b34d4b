"""A run that was interrupted, by a signal or by brute force, ends like one that was not: in its layout bit for bit."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from components.platform.launcher import INTERRUPTED_EXIT_CODE
from components.training.base import write_new_model
from components.training.data.pretraining import PretrainingData
from components.training.job import CorpusSource, TrainingJob, Validation
from components.training.metrics import read_metrics
from components.training.settings import PretrainSettings
from tests.training.ranks import outcomes, run_ranks
from tests.training.tiny import TINY, make_corpus, tiny_settings, write_tiny_model

ITERATIONS = 6
VOCAB_SIZE = 401  # odd: two tensor ranks need a row of padding


def make_job(folder: Path, settings: PretrainSettings, family: str | None = None) -> TrainingJob:
    """A run of six iterations from the tiny Llama, or from a tiny model of another family."""
    corpus = folder.parent / "corpus"
    base = folder.parent / "base"
    if not corpus.exists():
        make_corpus(corpus)
        if family is None:
            write_new_model(TINY.with_vocab_size(VOCAB_SIZE), 0.1, 7, base)
        else:
            write_tiny_model(family, base)
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
        vocab_size=VOCAB_SIZE,
        base=base,
        tokenizer=corpus / "tokenizer",
        output=folder,
    )


def train(job: TrainingJob, at: int | None = None, how: signal.Signals | None = None) -> None:
    """Runs on each rank, as the worker does; the last rank is sent a signal in the middle of iteration `at`.

    Each rank logs what its engine learns from: iteration and hash of each sample.
    """
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

    def step(engine: Engine, batches: list, *arguments: object) -> object:
        if process.layout.rank == process.layout.world_size - 1 and trainer.iteration + 1 == at:
            os.kill(os.getpid(), how)
        result = whole_step(engine, batches, *arguments)
        with (job.output / f"samples-{process.layout.rank}").open("a") as log:
            for row in (row for batch in batches for row in batch.tokens):
                log.write(f"{trainer.iteration} {sample_hash(row.numpy())}\n")
        return result

    Engine.train_step = step
    try:
        trainer.run()
    except TrainingInterruptedError:
        sys.exit(INTERRUPTED_EXIT_CODE)


def sample_hash(tokens: object) -> str:
    return hashlib.sha256(tokens.tobytes()).hexdigest()


def curve(folder: Path) -> list[tuple[float, ...]]:
    """All figures but those of speed and memory."""
    rows = read_metrics(folder / "metrics.jsonl")
    measured = {"tokens_per_second", "data_stall", "peak_memory_bytes"}
    return [tuple(value for key, value in row.items() if key not in measured) for row in rows]


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
    run_ranks(2, train, make_job(broken, settings))
    assert_same(whole, broken)


def train_for_a_while(job: TrainingJob, seconds: float) -> None:
    """Training that is killed `seconds` after its ranks have started up."""
    from components.training.engine.engine import Engine

    whole_start = Engine.start

    def start(engine: Engine) -> None:
        whole_start(engine)
        killer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
        killer.daemon = True
        killer.start()

    Engine.start = start
    train(job)


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Again and again, while it saves after every iteration, so that many of them fall into a save."""
    settings = tiny_settings((1, 1, 1), save_interval=1)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_ranks(1, train, make_job(whole, settings))
    seed = time.time_ns()
    print(f"seed {seed}")
    moments = random.Random(seed)
    for _ in range(6):
        [end] = outcomes(1, train_for_a_while, make_job(broken, settings), moments.uniform(0.0, 0.5))
        assert end.code in (0, -signal.SIGKILL)
    run_ranks(1, train, make_job(broken, settings))
    assert_same(whole, broken)


def train_and_die_while_saving(job: TrainingJob, iteration: int) -> None:
    """The last rank is killed when it has written its file of that iteration, but has not said so."""
    from components.training.checkpoint import checkpoints

    whole_write = checkpoints.write_fragments

    def write(path: Path, *arguments: object) -> None:
        whole_write(path, *arguments)
        last = job.settings.layout.world_size - 1
        if str(iteration) in path.parent.name and path.stem == f"rank-{last:05}":
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoints.write_fragments = write
    train(job)


@pytest.mark.slow
def test_killed_during_a_save(tmp_path: Path) -> None:
    settings = tiny_settings((1, 2, 1), save_interval=2)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_ranks(2, train, make_job(whole, settings))
    survivor, killed = outcomes(2, train_and_die_while_saving, make_job(broken, settings), 4)
    assert (survivor.code, killed.code) == (1, -signal.SIGKILL)
    assert checkpoints(broken) == [".iteration-0000004.unfinished", "iteration-0000002"]
    run_ranks(2, train, make_job(broken, settings))
    assert_same(whole, broken)


def samples(folder: Path, first: int, last: int) -> Counter[int]:
    """How often each sample was learned from in those iterations (counted from 0), over all ranks."""
    corpus = folder.parent / "corpus" / "tokens" / "train"
    groups = ("guidelines", "papers")
    settings = tiny_settings((1, 1, 1))
    data = PretrainingData(
        {group: corpus / group for group in groups},
        dict.fromkeys(groups, 1.0),
        settings.sequence_length,
        settings.seed,
    )
    number = ITERATIONS * settings.global_batch_size
    index_of = {sample_hash(data.sample(index)[:-1]): index for index in range(number)}
    assert len(index_of) == number
    rows = [line.split() for path in folder.glob("samples-*") for line in path.read_text().splitlines()]
    return Counter(index_of[sample] for iteration, sample in rows if first <= int(iteration) <= last)


def continue_elsewhere(
    folder: Path, before: tuple[int, int, int], after: tuple[int, int, int], family: str | None = None
) -> tuple[float, float]:
    """Stop after two of six iterations and go on in another layout.

    Returns:
        The largest differences of loss and gradient norm from a run that stayed where it was.
    """
    old, new = (tiny_settings(layout, save_interval=100) for layout in (before, after))
    whole, moved = folder / "whole", folder / "moved"
    run_ranks(old.layout.world_size, train, make_job(whole, old, family))
    ends = outcomes(old.layout.world_size, train, make_job(moved, old, family), 2, signal.SIGTERM)
    assert {end.code for end in ends} == {INTERRUPTED_EXIT_CODE}
    run_ranks(new.layout.world_size, train, make_job(moved, new, family))

    size = old.global_batch_size
    for first, last, layout in ((0, 1, before), (2, ITERATIONS - 1, after)):
        readers = layout[0] * min(layout[1], 2)  # tensor ranks of the first and the last stage
        assert samples(moved, first, last) == dict.fromkeys(range(first * size, (last + 1) * size), readers)
    steps = [[row for row in read_metrics(run / "metrics.jsonl") if "loss" in row] for run in (whole, moved)]
    assert [row["iteration"] for row in steps[1]] == list(range(1, ITERATIONS + 1))
    loss, norm = (
        max(abs(one[key] - other[key]) for one, other in zip(*steps, strict=True)) for key in ("loss", "grad_norm")
    )
    print(f"{before} to {after}: loss {loss:.1e}, gradient norm {norm:.1e}")
    return loss, norm


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after", "family"),
    [
        ((2, 1, 1), (1, 1, 1), None),
        ((1, 1, 2), (1, 1, 1), None),
        ((1, 2, 1), (2, 1, 1), None),
        ((1, 2, 1), (1, 1, 1), "falcon-7b"),  # the embedding is on both stages
        ((2, 2, 2), (1, 1, 2), None),
    ],
    ids=str,
)
def test_continues_in_another_layout(
    tmp_path: Path, before: tuple[int, int, int], after: tuple[int, int, int], family: str | None
) -> None:
    """As if nothing had happened, and with every sample once."""
    assert max(continue_elsewhere(tmp_path, before, after, family)) < 1e-6


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


def train_without_room(job: TrainingJob) -> None:
    """No file may grow to the size of a checkpoint's."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    train(job)


def test_a_full_disk_stops_the_run(tmp_path: Path) -> None:
    settings = tiny_settings((1, 1, 1), save_interval=2)
    [end] = outcomes(1, train_without_room, make_job(tmp_path / "run", settings))
    assert "CheckpointError: checkpoint of iteration 2 could not be written: " in end.error
    assert "rank-00000.safetensors" in end.error
    assert "File too large" in end.error


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


def train_and_hang(job: TrainingJob) -> None:
    """The last rank falls asleep in the middle of a step; the others wait for no longer than six seconds."""
    from components.training import process
    from components.training.engine.engine import Engine

    whole_start, whole_step = process.start_process, Engine.train_step
    process.start_process = lambda layout, timeout_minutes: whole_start(layout, timeout_minutes=0.1)

    def step(engine: Engine, batches: list, *arguments: object) -> object:
        if engine.layout.rank == engine.layout.world_size - 1:
            time.sleep(20)
        return whole_step(engine, batches, *arguments)

    Engine.train_step = step
    train(job)


@pytest.mark.slow
def test_a_hanging_stage_is_not_waited_for(tmp_path: Path) -> None:
    """Stages talk in groups of DeepSpeed's, which the timeout holds for, too."""
    waiting, _ = outcomes(2, train_and_hang, make_job(tmp_path / "run", tiny_settings((1, 2, 1))))
    assert waiting.code == 1
    assert "imed out" in waiting.error  # not: closed by the other rank, which sleeps for longer
