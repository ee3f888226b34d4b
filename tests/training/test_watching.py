"""Loss spikes: told from noise, stopped at or left out, and the same again after any interruption."""

from __future__ import annotations

import json
import os
import random
import signal
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from components.training.metrics import read_metrics
from components.training.settings import PretrainSettings
from components.training.watching import LossWatch, SkippedBatches, Stopwatch, peak_memory
from tests.training.ranks import outcomes, run_ranks
from tests.training.test_resume import assert_same, checkpoints, make_job
from tests.training.tiny import tiny_settings

WATCH = {"loss_spike_factor": 10.0, "loss_spike_window": 20, "loss_spike_iterations": 3}


def noisy(iterations: int, level: float = 2.0) -> list[tuple[int, float]]:
    """A curve that falls slowly under noise."""
    noise = random.Random(0)
    return [(i, level - 0.001 * i + noise.gauss(0, 0.05)) for i in range(1, iterations + 1)]


def spikes(curve: list[tuple[int, float]], **changes: object) -> list[int]:
    """Iterations at which the watch calls a spike."""
    watch, found = LossWatch(tiny_settings((1, 1, 1), **WATCH | changes)), []
    for iteration, loss in curve:
        watch.add(iteration, loss)
        if watch.is_spike:
            found.append(iteration)
    return found


def with_losses(curve: list[tuple[int, float]], losses: dict[int, float]) -> list[tuple[int, float]]:
    return [(iteration, losses.get(iteration, loss)) for iteration, loss in curve]


def test_noise_is_no_spike() -> None:
    assert spikes(noisy(1000)) == []


def test_a_spike_is_found_at_its_last_needed_iteration() -> None:
    assert spikes(with_losses(noisy(100), dict.fromkeys(range(50, 55), 4.0))) == [52, 53, 54]


def test_iterations_must_be_in_a_row() -> None:
    assert spikes(with_losses(noisy(100), {50: 9.0, 51: 9.0, 53: 9.0, 54: 9.0})) == []


def test_outliers_do_not_raise_the_limit() -> None:
    """One iteration in four is an outlier, and a mean would follow them; the median doesn't."""
    losses = dict.fromkeys(range(25, 80, 4), 9.0) | dict.fromkeys(range(80, 83), 4.0)
    assert spikes(with_losses(noisy(100), losses)) == [82]


def test_a_flat_curve_is_allowed_its_noise() -> None:
    flat = [(i, 1.0) for i in range(1, 100)]
    assert spikes(with_losses(flat, dict.fromkeys(range(50, 60), 1.05))) == []
    assert spikes(with_losses(flat, dict.fromkeys(range(50, 53), 1.2))) == [52]


def test_the_first_window_is_only_watched_and_a_factor_of_zero_is_off() -> None:
    early = with_losses(noisy(100), dict.fromkeys(range(5, 15), 9.0))
    assert spikes(early[:20]) == []
    late = with_losses(noisy(100), dict.fromkeys(range(50, 55), 9.0))
    assert spikes(late, loss_spike_factor=0) == []


def test_a_resumed_or_rewound_watch_judges_as_before() -> None:
    settings = tiny_settings((1, 1, 1), **WATCH)
    curve = with_losses(noisy(60), {30: 9.0, 44: 9.0, 45: 9.0, 46: 9.0})
    whole, seen = LossWatch(settings), []
    for entry in curve:
        whole.add(*entry)
        seen.append((whole.suspicious, whole.limit))
    for iteration in (10, 30, 45, 59):
        for watch in (LossWatch(settings, curve[:iteration]), whole.rewound(iteration)):
            assert (watch.suspicious, watch.limit) == seen[iteration - 1]


def test_skipped_batches_survive_in_their_file(tmp_path: Path) -> None:
    path = tmp_path / "skipped.json"
    skipped = SkippedBatches(path)
    assert [skipped.batch(i) for i in range(4)] == [0, 1, 2, 3]
    assert skipped.add(rewound_to=4, iteration=7) == range(4, 7)
    assert [skipped.batch(i) for i in range(6)] == [0, 1, 2, 3, 7, 8]
    assert skipped.add(rewound_to=6, iteration=9) == range(9, 12)
    skipped.save()
    again = SkippedBatches(path)
    assert [again.batch(i) for i in range(9)] == [0, 1, 2, 3, 7, 8, 12, 13, 14]
    assert again.already_rewound_to(6)
    assert not again.already_rewound_to(5)
    assert again.ranges == [range(4, 7), range(9, 12)]


def test_no_batch_comes_twice_whatever_is_skipped(tmp_path: Path) -> None:
    """Also where a rewind goes back behind an earlier one, as when the checkpoint in between is damaged."""
    chance = random.Random(1)
    for case in range(200):
        skipped = SkippedBatches(tmp_path / str(case))
        left_out: set[int] = set()
        for _ in range(chance.randint(1, 5)):
            rewound_to = chance.randint(0, 20)
            left_out |= set(skipped.add(rewound_to, rewound_to + chance.randint(1, 8)))
        seen = [skipped.batch(iteration) for iteration in range(60)]
        assert all(one < other for one, other in pairwise(seen))
        assert set(seen) == set(range(seen[-1] + 1)) - left_out


def test_only_waiting_counts_as_waiting() -> None:
    stopwatch = Stopwatch()
    with stopwatch.waiting():
        sum(range(100_000))
    waited = stopwatch.waited
    sum(range(100_000))
    assert 0 < waited == stopwatch.waited < stopwatch.seconds()


def test_peak_memory_grows_with_what_is_held() -> None:
    before = peak_memory(torch.device("cpu"))
    megabytes = bytearray(os.urandom(200 * 2**20))
    assert peak_memory(torch.device("cpu")) >= before
    assert peak_memory(torch.device("cpu")) > len(megabytes)


def spiking(**changes: object) -> PretrainSettings:
    """Watches from the third iteration on, as a run of six needs it."""
    watch = {"loss_spike_factor": 1.0, "loss_spike_window": 2, "loss_spike_iterations": 2, "save_interval": 2}
    return tiny_settings((1, 1, 2), **watch | changes)


def train_on_bad_batches(job, bad: list[int], kill_at: int | None = None) -> None:
    """Runs on each rank: training with batches whose loss is raised (of what is told, not of what is learned from).

    Rank 1 kills itself at its `kill_at`-th step, counted from its start.
    """
    from dataclasses import replace

    from components.training.batch import Batches
    from components.training.engine.engine import Engine
    from components.training.process import start_process
    from components.training.signals import StopRequest
    from components.training.trainer import Trainer

    process = start_process(job.settings.layout, timeout_minutes=2)
    whole_step, whole_batch, seen = Engine.train_step, Batches.train, []

    def batch(batches: Batches, number: int) -> object:
        seen.append(number)
        with (job.output / f"seen-{process.layout.rank}").open("a") as file:
            file.write(f"{number}\n")
        return whole_batch(batches, number)

    def step(engine: Engine, *arguments: object) -> object:
        if process.layout.rank == 1 and len(seen) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        result = whole_step(engine, *arguments)
        return replace(result, loss=result.loss + 5.0) if seen[-1] in bad else result

    Batches.train, Engine.train_step = batch, step
    Trainer(job, process, StopRequest()).run()


def test_a_spike_stops_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for end in outcomes(2, train_on_bad_batches, make_job(folder, spiking()), [3, 4, 5]):
        assert end.code == 1
        assert "loss spike at iteration 4: up to iteration 5 the loss stayed above" in end.error
        assert "set on_loss_spike: skip" in end.error
    # None is saved at iteration 4, where the loss is suspicious already.
    assert checkpoints(folder) == ["iteration-0000002"]


@pytest.mark.slow
def test_a_spike_is_left_out_and_killing_changes_nothing(tmp_path: Path) -> None:
    settings = spiking(on_loss_spike="skip")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_ranks(2, train_on_bad_batches, make_job(whole, settings), [3, 4])
    # Iterations 1 to 5 see batches 0 to 4; the spike at 4 and 5 leads back to 2; 2 to 4 are left out.
    assert (whole / "seen-0").read_text().split() == list("0123456789")[:9]
    assert json.loads((whole / ".skipped.json").read_text()) == [{"first": 2, "end": 5, "rewound_to": 2}]
    losses = [row["iteration"] for row in read_metrics(whole / "metrics.jsonl") if "loss" in row]
    assert losses == [1, 2, 3, 4, 5, 6]

    for kill_at in (5, 7):  # in the step that ends the spike, and in the second one behind the rewind
        folder = broken / str(kill_at)
        _, killed = outcomes(2, train_on_bad_batches, make_job(folder, settings), [3, 4], kill_at)
        assert killed.code == -signal.SIGKILL
        run_ranks(2, train_on_bad_batches, make_job(folder, settings), [3, 4])
        assert_same(whole, folder)


@pytest.mark.slow
def test_a_spike_that_comes_again_stops_the_run(tmp_path: Path) -> None:
    settings = spiking(on_loss_spike="skip")
    for end in outcomes(2, train_on_bad_batches, make_job(tmp_path / "run", settings), list(range(3, 20))):
        assert "going back to iteration 2 has not helped" in end.error


def test_without_a_checkpoint_there_is_nowhere_to_go_back(tmp_path: Path) -> None:
    settings = spiking(on_loss_spike="skip", save_interval=100)
    for end in outcomes(2, train_on_bad_batches, make_job(tmp_path / "run", settings), [3, 4]):
        assert "lower save_interval: there is no checkpoint to go back to yet" in end.error
