"""`meditron plan`: what a recipe's pretraining needs and takes, before it is started."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from components.platform import storage
from components.platform.errors import InputError, SettingsError
from components.training.models import config_from_hf
from components.training.parallel.layout import ParallelLayout
from components.training.planner.hardware import hardware_of_label, load_hardware
from components.training.planner.plan import make_plan
from components.training.planner.run import PlannedRun
from components.training.planner.search import search_layouts
from components.training.planner.sizes import ModelSizes, published_sizes
from components.training.planner.table import print_plan, print_search
from pipelines.recipe import Recipe, load_recipe


def plan(arguments: argparse.Namespace) -> None:
    """Print the plan of a recipe; the command line's options are in pipelines/cli.py.

    Raises:
        SettingsError: a layout that is not possible, or hardware that is not known.
        InputError: a base model whose sizes can't be found.
    """
    recipe = load_recipe(arguments.recipe)
    settings = recipe.pretrain
    hardware = load_hardware(arguments.hardware or hardware_of(recipe), arguments.network_gbits)
    sizes = base_sizes(recipe, arguments.model_config)
    recipe_layout = settings.layout.for_rank(0)
    compiled = settings.compile or arguments.compiled
    gpus = recipe_layout.world_size if arguments.gpus is None else arguments.gpus
    if arguments.search:
        run = PlannedRun.of_settings(settings, sizes, recipe_layout, compiled)
        print_search(search_layouts(run, gpus, hardware))
        return
    run = PlannedRun.of_settings(settings, sizes, layout_of(recipe_layout, gpus), compiled)
    given = {"power_usage_effectiveness": arguments.pue, "grams_co2_per_kwh": arguments.co2}
    given = {name: value for name, value in given.items() if value is not None}
    assumptions = recipe.registry.energy.model_copy(update=given)
    print_plan(make_plan(run, hardware), assumptions)


def layout_of(layout: ParallelLayout, gpus: int) -> ParallelLayout:
    """The same tensor and pipeline parallelism on another number of GPUs."""
    replica = layout.tensor_parallel_size * layout.pipeline_parallel_size
    if gpus < 1 or gpus % replica:
        raise SettingsError(
            f"--gpus {gpus} is not divisible by TP{layout.tensor_parallel_size} × PP{layout.pipeline_parallel_size} = "
            f"{replica}; give a multiple of it, or --search for other layouts"
        )
    return ParallelLayout(layout.tensor_parallel_size, layout.pipeline_parallel_size, gpus // replica)


def base_sizes(recipe: Recipe, model_config: Path | None) -> ModelSizes:
    """Sizes of the base model: from `model_config`, the recipe, the data root, or what is published."""
    base = recipe.pretrain.base
    if model_config is not None:
        return _read_sizes(model_config)
    if base.new is not None:
        return _new_model(recipe)
    if not storage.is_s3(recipe.platform.data):
        path = Path(recipe.platform.data, base.path, "config.json")
        if path.is_file():
            return _read_sizes(path)
    return published_sizes(Path(base.path).name)


def _read_sizes(path: Path) -> ModelSizes:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected a Hugging Face config.json") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    return ModelSizes.of(config_from_hf(record, str(path)))


def _new_model(recipe: Recipe) -> ModelSizes:
    """A new model takes its vocabulary from the tokenizer, which must be one that the corpus stage trains."""
    new, tokenizer = recipe.pretrain.base.new, recipe.corpus.tokenizer.train
    if tokenizer is None:
        raise InputError("the size of an existing tokenizer is not known here; give the model's --model-config")
    return ModelSizes.of(new.config(tokenizer.vocab_size))


def hardware_of(recipe: Recipe) -> str:
    """Name of the GPUs that the recipe's pods ask for."""
    pods = recipe.platform.launcher.pytorchjob
    return hardware_of_label(pods.node_selector.get("nvidia.com/gpu.product") if pods else None)
