"""The two programs, each from a model folder and its questions to a choice per question."""

from __future__ import annotations

import shutil

from benchmarks.evaluation.inputs import Inputs
from components.evaluation import stage
from components.evaluation.lm_eval.tasks import TAG, task_name
from components.platform.questions.benchmark import load_benchmark

Choices = dict[tuple[str, str], str]
"""(lm-eval's name of the task, id of the question) → the likeliest option."""


def ours(inputs: Inputs) -> Choices:
    """The evaluation stage, up to the verdicts on all items."""
    folder = inputs.folder / "evaluation"
    shutil.rmtree(folder, ignore_errors=True)  # else it would continue from what the run before left
    folder.mkdir()
    verdicts = stage.evaluate(inputs.settings, inputs.platform, inputs.model, "benchmark", folder)
    return {(task_name(load_benchmark(v.benchmark)), v.id): v.restricted_prediction or "" for v in verdicts}


def lm_eval(inputs: Inputs) -> Choices:
    """lm-eval as its command line runs it, without the error bars, which it computes by resampling."""
    import datasets
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    datasets.config.HF_DATASETS_CACHE = str(inputs.folder / "cache")
    model = HFLM(str(inputs.model), add_bos_token=False, device="cpu", batch_size=inputs.settings.batch_size)
    manager = TaskManager(include_path=str(inputs.tasks), include_defaults=False)
    results = simple_evaluate(model, tasks=[TAG], task_manager=manager, bootstrap_iters=0)
    choices = {}
    for task, samples in results["samples"].items():
        for sample in samples:
            scores = [score for score, _ in sample["filtered_resps"]]
            choices[task, sample["doc"]["id"]] = sample["doc"]["labels"][scores.index(max(scores))]
    return choices


PROGRAMS = {"this project": ours, "lm-eval": lm_eval}
