"""The shipped recipes carry the published values; mistakes in a recipe are found in the first second."""

from pathlib import Path

import pytest
import yaml

from components.platform.errors import SettingsError
from pipelines.recipe import RECIPES, load_recipe


@pytest.fixture
def laptop():
    return yaml.safe_load((RECIPES / "laptop.yaml").read_text())


def save(recipe: dict, folder: Path) -> str:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return str(path)


@pytest.mark.parametrize(
    ("name", "layout", "gpus", "batch", "sequence_length", "lr"),
    [
        ("meditron-7b", (4, 1, 16), 64, (10, 1600), 2048, 3e-4),
        ("meditron-70b", (8, 8, 2), 128, (2, 512), 4096, 1.5e-4),
    ],
)
def test_published_values(name, layout, gpus, batch, sequence_length, lr):
    pretrain = load_recipe(name).pretrain
    sizes = pretrain.layout
    assert (sizes.tensor_parallel_size, sizes.pipeline_parallel_size, sizes.data_parallel_size) == layout
    assert sizes.world_size == gpus
    assert (pretrain.micro_batch_size, pretrain.global_batch_size) == batch
    assert pretrain.sequence_length == sequence_length
    assert (pretrain.lr, pretrain.min_lr, pretrain.lr_warmup_iters) == (lr, 1e-6, 2000)
    assert (pretrain.adam_beta1, pretrain.adam_beta2, pretrain.adam_eps) == (0.9, 0.95, 1e-5)
    assert (pretrain.weight_decay, pretrain.clip_grad, pretrain.dtype) == (0.1, 1.0, "bf16")


def test_laptop_trains_with_three_kinds_of_parallelism():
    recipe = load_recipe("laptop")
    for stage in (recipe.pretrain, recipe.sft):
        assert stage.layout.world_size == 8
        assert stage.layout.tensor_parallel_size == stage.layout.pipeline_parallel_size == 2
    assert recipe.platform.launcher.kind == "torchrun"


def test_data_root():
    assert load_recipe("laptop").platform.data == str(RECIPES.parent / "sample")
    assert load_recipe("laptop", data="/elsewhere").platform.data == "/elsewhere"


def test_unknown_recipe_names_the_shipped_ones():
    with pytest.raises(SettingsError, match="no recipe 'desktop'; shipped are laptop, meditron-70b, meditron-7b"):
        load_recipe("desktop")


def test_unknown_key(laptop, tmp_path):
    laptop["pretrain"]["global_batchsize"] = 4
    with pytest.raises(SettingsError, match=r"recipe.yaml:\d+: pretrain.global_batchsize: .*`global_batch_size`"):
        load_recipe(save(laptop, tmp_path))


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"tensor_parallel_size": 3}, "not divisible by tensor_parallel_size 3"),
        ({"pipeline_parallel_size": 64}, "num_hidden_layers"),
        ({"data_parallel_size": 3}, "data_parallel_size 3 = .*; the next that is"),
    ],
)
def test_impossible_layout(laptop, tmp_path, layout, message):
    laptop["pretrain"]["layout"] |= layout
    with pytest.raises(SettingsError, match=f"recipe.yaml:.*: pretrain: .*{message}"):
        load_recipe(save(laptop, tmp_path))


def test_what_is_asked_is_kept_out_of_the_corpus(laptop, tmp_path):
    laptop["corpus"]["decontaminate"]["benchmarks"].remove("mmlu-medical")
    expected = r"recipe.yaml:\d+: evaluation: mmlu-medical is not kept out .* add it to corpus.decontaminate.benchmarks"
    with pytest.raises(SettingsError, match=expected):
        load_recipe(save(laptop, tmp_path))
    laptop["corpus"]["decontaminate"] = None
    load_recipe(save(laptop, tmp_path))
    laptop["corpus"]["decontaminate"] = {"benchmarks": ["medka", "pubmedqa"]}
    with pytest.raises(SettingsError, match="corpus.decontaminate.benchmarks: no benchmark is called 'medka'"):
        load_recipe(save(laptop, tmp_path))
