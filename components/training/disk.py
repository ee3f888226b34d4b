"""Whether checkpoints and model will fit on the disk, looked at before the first iteration."""

from __future__ import annotations

import math
import shutil

from components.platform.errors import InputError
from components.training.job import TrainingJob
from components.training.models.common.config import ModelConfig
from components.training.planner.sizes import ModelSizes

CHECKPOINT_BYTES = 12  # per parameter: float32 weight, and Adam's two moments
MODEL_BYTES = {"fp32": 4, "bf16": 2}  # per parameter of the exported model


def check_room(job: TrainingJob, config: ModelConfig) -> None:
    """What an earlier start has written counts as room that is there.

    Raises:
        InputError: the checkpoints that are kept, one being written, and the model need more than is free.
    """
    settings, parameters = job.settings, ModelSizes.of(config).parameters
    saves = math.ceil(job.train_iters / settings.save_interval)
    kept = min(saves, settings.keep_checkpoints + 1)
    if settings.keep_every:
        kept = min(saves, kept + job.train_iters // settings.keep_every)
    checkpoints = 0 if job.checkpoints else kept * parameters * CHECKPOINT_BYTES
    needed = checkpoints + parameters * MODEL_BYTES[settings.dtype]
    disk = shutil.disk_usage(job.output)
    written = sum(path.stat().st_size for path in job.output.rglob("*") if path.is_file())
    free = disk.free + written
    if disk.total and needed > free:  # some network storage has no size
        raise InputError(
            f"{job.output}: {free / 1e9:.3g} GB of room, but {kept} checkpoints and the model need "
            f"{needed / 1e9:.3g} GB; make room, or lower keep_checkpoints or raise save_interval or keep_every"
        )
