"""The training loop: the same for pretraining and fine-tuning, on any layout."""

from __future__ import annotations

import math
import time

import torch
import torch.distributed as dist

from components.platform.errors import UserError
from components.training.batch import training_batches, validation_batches
from components.training.checkpoint import Checkpoints
from components.training.convert import export_model, load_weights
from components.training.engine.engine import Engine, StepResult
from components.training.job import CHECKPOINTS_FOLDER, METRICS_FILE, MODEL_FOLDER, TrainingJob
from components.training.metrics import TrainingLog
from components.training.models.llama.config import LlamaConfig
from components.training.process import Process
from components.training.schedule import learning_rate
from components.training.signals import StopRequest


class TrainingDivergedError(UserError):
    """The loss or the gradient is no longer a number."""


class TrainingInterruptedError(Exception):
    """The run was told to stop and has saved a checkpoint."""


class Trainer:
    """One rank of a training run, from its newest checkpoint (or the base model) to the exported model."""

    def __init__(self, job: TrainingJob, process: Process, stop: StopRequest) -> None:
        self.job, self.settings, self.process, self._stop = job, job.settings, process, stop
        self.config = LlamaConfig.read(job.base).with_vocab_size(job.vocab_size)
        self.engine = Engine(self.config, self.settings, process.layout, process.groups)
        self.checkpoints = Checkpoints(job.output / CHECKPOINTS_FOLDER, process, self.settings.keep_checkpoints)
        self.batches = training_batches(job, process.layout)
        self.validation = validation_batches(job, process.layout)
        self.iteration = self._resume_or_begin()
        self._saved = self.iteration
        log_arguments = (job.output / METRICS_FILE, job.name, job.train_iters, self.iteration)
        self._log = TrainingLog(*log_arguments) if process.is_main else None

    def run(self) -> None:
        """Train to the last iteration and export.

        Raises:
            TrainingInterruptedError: a stop was requested; the finished iterations are in a checkpoint.
            TrainingDivergedError: loss or gradient norm is not finite; nothing is saved after that.
        """
        validation, last = self.job.validation, self.job.train_iters
        if validation and self.iteration == 0:
            self._validate()
        while self.iteration < last:
            self._stop_if_requested()
            self._step()
            if validation and (self.iteration == last or self.iteration % validation.interval == 0):
                self._validate()
            if self.iteration == last or self.iteration % self.settings.save_interval == 0:
                self._save()
        if self._log:
            self._log.close()
        self._export()

    def _resume_or_begin(self) -> int:
        """Load the newest checkpoint, or else the base model; returns the iterations already done."""
        found = self.checkpoints.load_newest()
        if found is None:
            load_weights(self.job.base, self.engine.parameters(), self.config, self.process)
            torch.manual_seed(self.settings.seed + self.process.layout.rank)
            self.engine.start()
            return 0
        iteration, state = found
        self.engine.start()
        self.engine.load_state(state)
        if self.process.is_main:
            print(f"{self.job.name}  continues after iteration {iteration}", flush=True)
        return iteration

    def _step(self) -> None:
        """One iteration."""
        started = time.perf_counter()
        lr = learning_rate(
            self.iteration + 1,
            lr=self.settings.lr,
            min_lr=self.settings.min_lr,
            warmup_iters=self.settings.warmup_iters(self.job.train_iters),
            train_iters=self.job.train_iters,
        )
        result = self.engine.train_step(self.batches.train(self.iteration), lr)
        self.iteration += 1
        if not (math.isfinite(result.loss) and math.isfinite(result.grad_norm)):
            raise TrainingDivergedError(self._divergence(result))
        if self._log:
            tokens = self.settings.global_batch_size * self.settings.sequence_length
            speed = tokens / (time.perf_counter() - started)
            figures = {"loss": result.loss, "grad_norm": result.grad_norm, "lr": lr}
            self._log.step(self.iteration, **figures, tokens_per_second=speed)

    def _divergence(self, result: StepResult) -> str:
        newest = self.checkpoints.iterations()[:1]
        return (
            f"training diverged at iteration {self.iteration}: loss {result.loss}, gradient norm {result.grad_norm}. "
            f"Lower lr, lengthen the warm-up, or lower clip_grad; "
            + (f"the newest checkpoint is of iteration {newest[0]}" if newest else "there is no checkpoint yet")
        )

    def _validate(self) -> None:
        loss = self.engine.eval_step(*self.validation)
        if self._log:
            self._log.validation(self.iteration, loss)

    def _stop_if_requested(self) -> None:
        """Save and leave if any rank was told to stop; all ranks come to the same answer."""
        requested = torch.tensor(int(self._stop.requested), device=self.process.device)
        dist.all_reduce(requested, dist.ReduceOp.MAX)
        if requested:
            self._save()
            raise TrainingInterruptedError(f"stopped after iteration {self.iteration}")

    def _save(self) -> None:
        if self._saved != self.iteration:
            self.checkpoints.save(self.iteration, self.engine.state())
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
