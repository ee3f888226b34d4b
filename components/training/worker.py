"""What each rank runs: `torchrun -m components.training.worker --job FILE`.

Exit codes: 0 the model is exported; 75 (`INTERRUPTED_EXIT_CODE`) told to stop by SIGTERM or its time is over,
checkpoint saved; anything else an error, with its traceback.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from components.training.signals import StopRequest


def main() -> None:
    parser = argparse.ArgumentParser(description="one rank of a training job; start it with torchrun")
    parser.add_argument("--job", type=Path, required=True, help="job file that the stage wrote")
    path = parser.parse_args().job
    stop = StopRequest()
    stop.listen()  # before the slow imports: a SIGTERM during start-up must not kill the rank half-way

    import torch.distributed as dist
    from torch.distributed.elastic.multiprocessing.errors import record

    from components.platform.launcher.job import INTERRUPTED_EXIT_CODE
    from components.training.job import TrainingJob
    from components.training.process import start_process
    from components.training.trainer import Trainer, TrainingInterruptedError

    @record
    def train() -> int:
        job = TrainingJob.model_validate_json(path.read_text(encoding="utf-8"))
        if job.exit_duration_minutes is not None:
            stop.expire_after(job.exit_duration_minutes)
        process = start_process(job.settings.layout, job.settings.collective_timeout_minutes)
        exit_code = 0
        try:
            Trainer(job, process, stop).run()
        except TrainingInterruptedError as interruption:
            if process.is_main:
                print(f"{job.name}  {interruption}", flush=True)
            exit_code = INTERRUPTED_EXIT_CODE
        dist.destroy_process_group()
        return exit_code

    sys.exit(train())


if __name__ == "__main__":
    main()
