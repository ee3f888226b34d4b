"""Weights from a Hugging Face folder to ranks and back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from components.platform.errors import InputError
from components.training.base import tensor_shapes, write_new_model
from components.training.models import read_config
from tests.training.ranks import run_ranks
from tests.training.tiny import TINY, make_tokenizer, tiny_settings, write_tiny_model


def there_and_back(base: Path, tokenizer: Path, target: Path, layout: tuple[int, int, int], vocab_size: int) -> None:
    """Runs on each rank: load and export."""
    from components.training.convert import export_model, load_weights
    from components.training.engine.engine import Engine
    from components.training.process import start_process

    settings = tiny_settings(layout)
    process = start_process(settings.layout, timeout_minutes=2)
    config = read_config(base).with_vocab_size(vocab_size)
    engine = Engine(config, settings, process.layout, process.groups)
    load_weights(base, engine.parameters(), config, process)
    export_model(engine.parameters(), config, process, base, tokenizer, target)


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    make_tokenizer(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def hf_weights(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "family"),
    [
        ((2, 2, 1), "llama"),
        ((2, 2, 1), "falcon-40b"),
        ((2, 1, 1), "mistral"),
        ((1, 2, 1), "falcon-7b"),
        ((1, 1, 1), "llama"),
    ],
    ids=str,
)
def test_round_trip_is_exact(tmp_path: Path, tokenizer: Path, layout: tuple[int, int, int], family: str) -> None:
    """A tied head is in the file once, as transformers writes it."""
    base, target = tmp_path / "base", tmp_path / "model"
    write_tiny_model(family, base, vocab_size=401)
    run_ranks(layout[0] * layout[1], there_and_back, base, tokenizer, target, layout, 401)
    before, after = hf_weights(base), hf_weights(target)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert len(list(target.glob("*.safetensors"))) == layout[1]
    assert not list(tmp_path.glob(".*"))


def test_tied_weights_may_be_stored_under_the_name_of_the_head(tmp_path: Path, tokenizer: Path) -> None:
    """Converters to safetensors keep one of two shared tensors, often the first in the alphabet."""
    base, target = tmp_path / "base", tmp_path / "model"
    write_tiny_model("falcon-7b", base, vocab_size=96)
    before = hf_weights(base)
    embedding = before.pop("transformer.word_embeddings.weight")
    save_file(before | {"lm_head.weight": embedding}, base / "model.safetensors")
    run_ranks(1, there_and_back, base, tokenizer, target, (1, 1, 1), 96)
    assert torch.equal(hf_weights(target)["transformer.word_embeddings.weight"], embedding)


@pytest.mark.slow
def test_exported_model_loads_in_transformers(tmp_path: Path, tokenizer: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    base, target = tmp_path / "base", tmp_path / "model"
    write_new_model(TINY.with_vocab_size(400), 0.1, 7, base)
    run_ranks(2, there_and_back, base, tokenizer, target, (1, 2, 1), 400)

    tokens = torch.arange(24).reshape(2, 12)
    with torch.no_grad():
        expected = AutoModelForCausalLM.from_pretrained(base)(tokens).logits
        model = AutoModelForCausalLM.from_pretrained(target)
        assert torch.equal(model(tokens).logits, expected)
    assert model.dtype == torch.float32

    loaded = AutoTokenizer.from_pretrained(target)
    ends = [loaded.convert_tokens_to_ids(token) for token in ("</s>", "<|im_end|>")]
    assert GenerationConfig.from_pretrained(target).eos_token_id == ends
    prompt = loaded.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True)
    assert prompt == "<|im_start|>question\nHi<|im_end|>\n<|im_start|>answer\n"
    generated = model.generate(**loaded(prompt, return_tensors="pt", return_token_type_ids=False), max_new_tokens=3)
    assert generated.shape[1] > 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("vocab_size", "family", "layout"),
    [(101, "llama", (2, 1, 1)), (201, "mistral", (2, 1, 1)), (101, "falcon-7b", (1, 2, 1))],
    ids=["one padding row", "a rank with new rows only", "tied"],
)
def test_new_tokens_start_as_the_mean(
    tmp_path: Path, tokenizer: Path, vocab_size: int, family: str, layout: tuple[int, int, int]
) -> None:
    """96 known tokens, an odd number wanted on two ranks."""
    base, target = tmp_path / "base", tmp_path / "model"
    write_tiny_model(family, base, vocab_size=96)
    run_ranks(2, there_and_back, base, tokenizer, target, layout, vocab_size)
    before, after = hf_weights(base), hf_weights(target)
    resized = [name for name in before if "embed" in name or "lm_head" in name]
    assert len(resized) == (1 if family == "falcon-7b" else 2)
    for name in resized:
        assert after[name].shape == (vocab_size, TINY.hidden_size)
        assert torch.equal(after[name][:96], before[name])
        torch.testing.assert_close(after[name][96:], before[name].mean(0).expand(vocab_size - 96, -1))
    assert json.loads((target / "config.json").read_text())["vocab_size"] == vocab_size


@pytest.mark.slow
def test_reads_what_transformers_writes_in_several_files(tmp_path: Path, tokenizer: Path) -> None:
    from transformers import AutoModelForCausalLM

    base, split, target = tmp_path / "base", tmp_path / "split", tmp_path / "model"
    write_new_model(TINY.with_vocab_size(400), 0.1, 7, base)
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(split, max_shard_size="40KB")
    assert len(list(split.glob("*.safetensors"))) > 2
    run_ranks(2, there_and_back, split, tokenizer, target, (2, 1, 1), 400)
    before, after = hf_weights(base), hf_weights(target)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_new_model_is_reproducible(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_new_model(TINY, 0.02, 7, tmp_path / name)
    assert (tmp_path / "one" / "model.safetensors").read_bytes() == (
        tmp_path / "two" / "model.safetensors"
    ).read_bytes()
    assert read_config(tmp_path / "one") == TINY


def test_shapes_are_those_of_transformers(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    write_new_model(TINY, 0.02, 7, tmp_path / "model")
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp_path / "model"))
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} == tensor_shapes(TINY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mamba"}, "model_type is 'mamba'"),
        ({"attention_bias": True}, "attention_bias is True; only False"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "rope type 'yarn'"),
        ({"hidden_size": None}, "the key 'hidden_size' is missing"),
    ],
)
def test_unsupported_models_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    write_new_model(TINY, 0.02, 7, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    record = json.loads(path.read_text()) | change
    path.write_text(json.dumps({key: value for key, value in record.items() if value is not None}))
    with pytest.raises(InputError, match=message):
        read_config(tmp_path / "model")


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    from components.platform.weights import WeightFiles

    write_new_model(TINY, 0.02, 7, tmp_path / "model")
    shutil.move(tmp_path / "model" / "model.safetensors", tmp_path / "elsewhere")
    with pytest.raises(InputError, match="no model.safetensors"):
        WeightFiles(tmp_path / "model")
