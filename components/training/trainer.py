"""The training loop: the same for pretraining and fine-tuning, on any layout."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.distributed as dist

from components.platform.errors import UserError
from components.training.batch import training_batches, validation_groups
from components.training.checkpoint import Checkpoints, open_store
from components.training.convert import export_model, load_weights
from components.training.engine.engine import Engine, StepResult
from components.training.flops import attention_flops, parameter_flops
from components.training.job import (
    CHECKPOINTS_FOLDER,
    METRICS_FILE,
    MODEL_FOLDER,
    SKIPPED_FILE,
    USAGE_FILE,
    TrainingJob,
)
from components.training.metrics import TrainingLog, read_metrics
from components.training.models import read_config
from components.training.parameters import count_parameters
from components.training.process import Process
from components.training.schedule import learning_rate
from components.training.signals import StopRequest
from components.training.usage import UsageLog
from components.training.watching import (
    LossWatch,
    SkippedBatches,
    Speedometer,
    Stopwatch,
    largest_over_ranks,
    peak_memory,
)


class TrainingDivergedError(UserError):
    """The loss or the gradient is no longer a number, or the loss has left its course."""


class TrainingInterruptedError(Exception):
    """The run was told to stop and goes on from a checkpoint when it is started again."""


class Trainer:
    """One rank of a training run, from its newest checkpoint (or the base model) to the exported model."""

    def __init__(self, job: TrainingJob, process: Process, stop: StopRequest) -> None:
        self.job, self.settings, self.process, self._stop = job, job.settings, process, stop
        self._usage = UsageLog(job.output / USAGE_FILE, process)
        self.config = read_config(job.base).with_vocab_size(job.vocab_size)
        self.engine = Engine(self.config, self.settings, process.layout, process.groups)
        self.checkpoints = Checkpoints(
            open_store(job.checkpoints or str(job.output / CHECKPOINTS_FOLDER), process.layout.rank),
            process,
            keep=self.settings.keep_checkpoints,
            keep_every=self.settings.keep_every,
            timeout_minutes=self.settings.collective_timeout_minutes,
        )
        self.batches = training_batches(job, process.layout)
        self.validation = validation_groups(job, process.layout)
        self._skipped = SkippedBatches(job.output / SKIPPED_FILE)
        self.iteration = self._resume_or_begin()
        self._saved = self._begun = self.iteration
        self._speedometer = self._make_speedometer()
        rows = [row for row in read_metrics(job.output / METRICS_FILE) if "loss" in row]
        history = [(row["iteration"], row["loss"]) for row in rows if row["iteration"] <= self.iteration]
        self._watch = LossWatch(self.settings, history)
        self._log = self._open_log()

    def run(self) -> None:
        """Train to the last iteration and export.

        Raises:
            CheckpointError: a checkpoint could not be written.
            TrainingInterruptedError: a stop was requested; the finished iterations are in a checkpoint, but for
                those since the loss became suspicious.
            TrainingDivergedError: loss or gradient norm is not finite, or the loss has a spike that `on_loss_spike`
                doesn't leave out; nothing is saved after that.
        """
        validation, last = self.job.validation, self.job.train_iters
        if validation and self.iteration == 0:
            self._validate()
        while self.iteration < last:
            self.checkpoints.raise_if_failed()
            self._stop_if_requested()
            self._step()
            if self._watch.is_spike:
                self._go_back()
                continue
            if validation and (self.iteration == last or self.iteration % validation.interval == 0):
                self._validate()
            if self.iteration == last or self._save_is_due():
                self._save()
        self.checkpoints.wait()
        if self._log:
            self._log.close()
        self._export()
        self._usage.note()

    def _resume_or_begin(self) -> int:
        """Load the newest checkpoint, or else the base model; returns the iterations already done."""
        iteration = self.checkpoints.newest_intact()
        if iteration is None:
            load_weights(self.job.base, self.engine.parameters(), self.config, self.process)
            self.engine.start()
            return 0
        self.engine.start()
        self._load(iteration)
        if self.process.is_main:
            print(f"{self.job.name}  continues after iteration {iteration}", flush=True)
        return iteration

    def _load(self, iteration: int) -> None:
        step = self.checkpoints.load(iteration, self.engine.fragments())
        self.engine.continue_from_fragments(step)

    def _step(self) -> None:
        """One iteration."""
        stopwatch = Stopwatch()
        lr = learning_rate(
            self.iteration + 1,
            lr=self.settings.lr,
            min_lr=self.settings.min_lr,
            warmup_iters=self.settings.warmup_iters(self.job.train_iters),
            train_iters=self.job.train_iters,
        )
        with stopwatch.waiting():
            number = self._skipped.batch(self.iteration)
            batches, count = self.batches.train(number)
        seed_random_numbers(self.settings.seed, self.iteration, self.process.layout.rank)
        result = self.engine.train_step(batches, lr, count)
        self.iteration += 1
        self._usage.update()
        if not (math.isfinite(result.loss) and math.isfinite(result.grad_norm)):
            self.checkpoints.wait()  # the newest one is still good
            raise TrainingDivergedError(self._divergence(result))
        # The loss among them, so that all ranks judge the same number and none goes back alone.
        measured = [result.loss, stopwatch.waited, peak_memory(self.process.device)]
        loss, waited, memory = largest_over_ranks(measured, self.process.device)
        self._watch.add(self.iteration, loss)
        if self._log:
            seconds = stopwatch.seconds()
            self._log.step(
                self.iteration,
                loss=loss,
                grad_norm=result.grad_norm,
                lr=lr,
                data_stall=waited / seconds,
                peak_memory_bytes=memory,
                **self._speedometer.figures(seconds, samples=len(self.batches.sizes.samples(number))),
            )

    def _make_speedometer(self) -> Speedometer:
        settings, layout = self.settings, self.process.layout
        num_parameters = count_parameters(self.engine.parameters(), self.config, self.process)
        attention_width = self.config.num_attention_heads * self.config.head_dim
        peak = self.process.peak_flops(settings.dtype)
        return Speedometer(
            sequence_length=settings.sequence_length,
            parameter_flops=parameter_flops(num_parameters),
            attention_flops=attention_flops(self.config.num_hidden_layers, attention_width, settings.sequence_length),
            peak_flops=None if peak is None else peak * layout.world_size,
        )

    def _open_log(self) -> TrainingLog | None:
        """The main rank's log, continued behind the current iteration; None on the other ranks."""
        if not self.process.is_main:
            return None
        return TrainingLog(self.job.output / METRICS_FILE, self.job.name, self.job.train_iters, self.iteration)

    def _go_back(self) -> None:
        """After a loss spike: continue from the newest checkpoint, without the batches that came since.

        That checkpoint is from before the spike, for none is saved while the loss is suspicious.
        """
        reached = self.iteration
        self.checkpoints.wait()
        iteration = self.checkpoints.newest_intact() if self.settings.on_loss_spike == "skip" else None
        if iteration is None or self._skipped.already_rewound_to(iteration):
            raise TrainingDivergedError(self._spike())
        self.iteration = iteration
        batches = self._skipped.add(self.iteration, reached)
        if self.process.is_main:
            self._skipped.save()
            print(
                f"{self.job.name}  loss spike at iteration {reached}: goes back to iteration {self.iteration} and "
                f"leaves out global batches {batches.start} to {batches.stop - 1}",
                flush=True,
            )
        self._load(iteration)
        self._saved = self.iteration
        self._watch = self._watch.rewound(self.iteration)
        if self._log:
            self._log.rewind(self.iteration)

    def _spike(self) -> str:
        first = self.iteration - self._watch.suspicious + 1
        newest = self.checkpoints.iterations()[:1]
        remedy = "lower lr or lengthen the warm-up"
        if self.settings.on_loss_spike == "stop":
            remedy += ", set on_loss_spike: skip to leave out the batches, or raise loss_spike_factor"
        elif not newest:
            remedy += ", or lower save_interval: there is no checkpoint to go back to yet"
        else:
            remedy += f": going back to iteration {newest[0]} has not helped"
        return (
            f"loss spike at iteration {first}: up to iteration {self.iteration} the loss stayed above "
            f"{self._watch.limit:.4g}, the newest being {self._watch.newest:.4g}; {remedy}"
        )

    def _divergence(self, result: StepResult) -> str:
        newest = self.checkpoints.iterations()[:1]
        return (
            f"training diverged at iteration {self.iteration}: loss {result.loss}, gradient norm {result.grad_norm}. "
            f"Lower lr, lengthen the warm-up, or lower clip_grad; "
            + (f"the newest checkpoint is of iteration {newest[0]}" if newest else "there is no checkpoint yet")
        )

    def _validate(self) -> None:
        losses = {group.name: self.engine.eval_step(group.batches, group.count) for group in self.validation}
        if self._log:
            total = sum(group.share * losses[group.name] for group in self.validation)
            self._log.validation(self.iteration, losses, total)

    def _stop_if_requested(self) -> None:
        """Save and leave if any rank was told to stop or its time is over; all ranks come to the same answer.

        However short the time, the run gets further by an iteration: else it would be started again for ever.
        """
        is_over = self._stop.is_expired and self.iteration > self._begun
        requested = torch.tensor(int(self._stop.is_signalled or is_over), device=self.process.device)
        dist.all_reduce(requested, dist.ReduceOp.MAX)
        if requested:
            self._save()
            self.checkpoints.wait()
            self._usage.note()
            raise TrainingInterruptedError(f"stopped after iteration {self.iteration}")

    def _save_is_due(self) -> bool:
        """Whether a multiple of `save_interval` has been passed since the last checkpoint."""
        return self.iteration // self.settings.save_interval > self._saved // self.settings.save_interval

    def _save(self) -> None:
        if self._saved != self.iteration and not self._watch.suspicious:
            self.checkpoints.save(self.iteration, self.engine.fragments(), self.engine.step_count)
            self._usage.note()
            self._saved = self.iteration

    def _export(self) -> None:
        export_model(
            self.engine.parameters(),
            self.config,
            self.process,
            base=self.job.base,
            tokenizer=self.job.tokenizer,
            target=self.job.output / MODEL_FOLDER,
        )


def seed_random_numbers(seed: int, iteration: int, rank: int) -> None:
    """Make the random numbers of an iteration a pure function of the arguments.

    So checkpoints need no random state, which another layout could not use: it has other ranks.
    """
    [state] = np.random.SeedSequence((seed, iteration, rank)).generate_state(1, np.uint64)
    torch.manual_seed(int(state))
