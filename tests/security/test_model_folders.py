"""Model folders from outside: nothing in them runs code, leads elsewhere, or asks for memory that it does not fill."""

import json
import os
import pickle
import struct
from pathlib import Path

import jinja2
import pytest
import torch
from transformers import AutoTokenizer

from components.evaluation.engine.huggingface import HuggingFaceEngine
from components.evaluation.engine.text import ModelText
from components.platform.context import PlatformSettings, TrackingSettings
from components.platform.errors import InputError
from components.platform.model_folder import CONFIG_NAME, load_tokenizer, read_object
from components.platform.weights import INDEX_NAME, SINGLE_NAME, WeightFiles, check_whole, indexed_files
from components.quantization.check import check_model
from components.quantization.settings import ModelSettings
from components.serving.folder import find_model
from components.serving.terminal.model import ChatModel
from components.training.stage import _base_files, _existing_model
from tests.serving.models import change_json
from tests.training.tiny import tiny_settings

# What a stage does with a model that it is given, before it loads any
READERS = {
    "serve": find_model,
    "chat": ChatModel.load,
    "evaluate": lambda folder: HuggingFaceEngine(folder)._model,
    "quantize": lambda folder: check_model(ModelSettings(sequence_length=32, group_size=16), folder),
    "train": lambda folder: _existing_model(folder, folder),
}


class Code:
    """Pickled, it leaves a file behind wherever it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def trace(tmp_path):
    return tmp_path / "ran"


def refused(reader, folder, message):
    with pytest.raises(InputError, match=message):
        READERS[reader](folder)


def test_the_whole_folder_is_taken(model):
    assert find_model(model).context == 64
    assert HuggingFaceEngine(model)._model.config.hidden_size == 32
    assert _existing_model(model, model).vocab_size == 8
    ChatModel.load(model)


# Code


def test_the_pickle_would_run(trace, tmp_path):
    """So the tests below mean something."""
    torch.save(Code(trace), tmp_path / "x.bin")
    torch.load(tmp_path / "x.bin", weights_only=False)
    assert trace.is_dir()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth"])
def test_pickled_weights_are_refused_with_the_remedy(model, trace, reader, name):
    (model / SINGLE_NAME).unlink()
    torch.save(Code(trace), model / name)
    refused(reader, model, r"no model.safetensors .*; only safetensors are read.*save_pretrained")
    assert not trace.exists()


def test_a_base_model_of_pickled_weights_is_refused_with_the_remedy(model, trace):
    (model / SINGLE_NAME).unlink()
    torch.save(Code(trace), model / "pytorch_model.bin")
    tracking = TrackingSettings(uri="sqlite:///x.db")
    platform = PlatformSettings(data=str(model.parent), workspace=str(model.parent / "runs"), tracking=tracking)
    settings = tiny_settings((1, 1, 1), base={"path": "model"})
    with pytest.raises(InputError, match=r"model/\*.safetensors: no such file; .*only safetensors are read"):
        _base_files(settings, platform)
    assert not trace.exists()


# Not read until the model is
LATER = {("train", "generation_config.json"), ("quantize", "generation_config.json"), ("quantize", "tokenizer.json")}


@pytest.mark.parametrize("name", [SINGLE_NAME, CONFIG_NAME, "tokenizer.json", "generation_config.json"])
@pytest.mark.parametrize("reader", READERS)
def test_a_pickle_under_any_name_is_not_loaded(model, trace, reader, name):
    (model / name).write_bytes(pickle.dumps(Code(trace)))
    if (reader, name) in LATER:
        READERS[reader](model)
    else:
        with pytest.raises((InputError, OSError, ValueError)):
            READERS[reader](model)
    assert not trace.exists()


@pytest.mark.parametrize("load", [ChatModel.load, lambda folder: HuggingFaceEngine(folder)._model, ModelText])
def test_code_beside_a_model_is_not_imported(model, trace, load):
    """A family of the folder's own; without an answer, transformers would ask at the terminal whether it may."""
    (model / "evil.py").write_text(f"import os\nos.mkdir({str(trace)!r})\nclass Config: pass\nclass Model: pass\n")
    classes = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model", "AutoTokenizer": ["evil.Model", None]}
    change_json(model / CONFIG_NAME, model_type="evil", auto_map=classes)
    change_json(model / "tokenizer_config.json", auto_map=classes)
    with pytest.raises(ValueError, match="trust_remote_code"):
        load(model)
    assert not trace.exists()


TEMPLATES = {
    "classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ cycler.__init__.__globals__.os.mkdir('TRACE') }}",
    "raise_exception": "{{ raise_exception.__globals__['__builtins__']['__import__']('os').mkdir('TRACE') }}",
    "format": "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}",
    "change": "{{ messages.append(5) }}",
    "include": "{% include '/etc/passwd' %}",
}


@pytest.mark.parametrize("attack", TEMPLATES)
def test_a_chat_template_stays_in_its_sandbox(model, trace, attack):
    change_json(model / "tokenizer_config.json", chat_template=TEMPLATES[attack].replace("TRACE", str(trace)))
    messages = [{"role": "question", "content": "?"}]
    with pytest.raises((jinja2.TemplateError, TypeError)):
        ModelText(model).render(messages)
    with pytest.raises((jinja2.TemplateError, TypeError)):
        AutoTokenizer.from_pretrained(model).apply_chat_template(messages)
    assert not trace.exists()


# Places


@pytest.mark.parametrize(
    "name", ["../other.safetensors", "/etc/other.safetensors", "sub/x.safetensors", "x.bin", 5, None]
)
@pytest.mark.parametrize("reader", READERS)
def test_an_index_names_files_of_its_folder(model, reader, name):
    (model.parent / "other.safetensors").write_bytes((model / SINGLE_NAME).read_bytes())
    (model / INDEX_NAME).write_text(json.dumps({"weight_map": {"model.norm.weight": name}}))
    refused(reader, model, f"{INDEX_NAME}: weight_map: model.norm.weight lies in .*; expected a safetensors file")


@pytest.mark.parametrize("content", ["[]", "5", '{"weight_map": []}', '{"weight_map": null}', "[" * 100_000])
def test_an_index_that_is_none(model, content):
    (model / INDEX_NAME).write_text(content)
    with pytest.raises(InputError, match=INDEX_NAME):
        indexed_files(model)


# Memory


def weights(header, data=b"", length=None):
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(begin, end, shape=(2,)):
    return {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}


HEADERS = {
    "header of 2^60 bytes": weights(b"{}", length=1 << 60),
    "header of 2^64 - 1 bytes": weights(b"{}", length=(1 << 64) - 1),
    "no header": b"",
    "not JSON": weights(b"\x80\x04."),
    "nested": weights(b'{"a":' * 100_000),
    "beyond the file": weights({"a": tensor(0, 8)}, b"1234"),
    "2^60 values": weights({"a": tensor(0, 1 << 62, (1 << 60,))}, b"1234"),
    "sizes that overflow": weights({"a": tensor(0, 8, (1 << 33, 1 << 33))}, b"12345678"),
    "overlapping": weights({"a": tensor(0, 8), "b": tensor(4, 12)}, b"123456789012"),
    "holes": weights({"a": tensor(4, 12)}, b"123456789012"),
    "backwards": weights({"a": tensor(8, 0)}, b"12345678"),
    "negative": weights({"a": tensor(-8, 0)}, b"12345678"),
    "more than is named": weights({"a": tensor(0, 8)}, b"123456789012"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_weights_whose_header_lies(model, case):
    (model / SINGLE_NAME).write_bytes(HEADERS[case])
    for look in (WeightFiles, check_whole):
        with pytest.raises(InputError, match=f"{SINGLE_NAME}: damaged or cut short, not a safetensors file"):
            look(model)


@pytest.mark.parametrize("reader", READERS)
def test_weights_whose_header_lies_are_refused_by_stages(model, reader):
    (model / SINGLE_NAME).write_bytes(HEADERS["header of 2^60 bytes"])
    refused(reader, model, "damaged or cut short")


SIZES = {
    "hidden_size": 10**9,
    "vocab_size": 10**9,
    "num_hidden_layers": 10**9,
    "num_attention_heads": 10**9,
    "num_key_value_heads": 10**9,
    "head_dim": 10**9,
    "intermediate_size": 10**9,
}
NO_SIZES = [0, -8, 1.5, "8", True, [8]]


@pytest.mark.parametrize("key", SIZES)
@pytest.mark.parametrize("reader", READERS)
def test_sizes_without_weights_for_them(model, reader, key):
    change_json(model / CONFIG_NAME, **{key: SIZES[key]})
    refused(reader, model, f"{CONFIG_NAME}: .*{key}.* is .*, but the weights have room for")


@pytest.mark.parametrize("value", NO_SIZES, ids=repr)
@pytest.mark.parametrize("key", [*SIZES, "max_position_embeddings"])
def test_sizes_that_are_none(model, key, value):
    change_json(model / CONFIG_NAME, **{key: value})
    with pytest.raises(InputError, match=f"{CONFIG_NAME}: {key} is .*; expected a positive integer"):
        check_whole(model)


@pytest.mark.parametrize("key", ["hidden_size", "vocab_size", "num_hidden_layers", "num_attention_heads"])
def test_sizes_that_are_missing(model, key):
    change_json(model / CONFIG_NAME, **{key: None})
    with pytest.raises(InputError, match=f"{CONFIG_NAME}: {key} is None"):
        check_whole(model)


@pytest.mark.parametrize("content", ["[" * 100_000, "[1]", "null", "{", '{"a": ' + "9" * 5000 + "}"], ids=len)
def test_json_that_is_no_description(model, content):
    (model / CONFIG_NAME).write_text(content)
    with pytest.raises(InputError, match=f"{CONFIG_NAME}: (not JSON|expected a JSON object)"):
        read_object(model / CONFIG_NAME)


def test_a_description_of_a_gigabyte(model):
    with (model / CONFIG_NAME).open("r+b") as file:
        file.truncate(1 << 30)  # holes: it takes no room
    with pytest.raises(InputError, match="1,073,741,824 bytes, at most"):
        read_object(model / CONFIG_NAME)


def test_a_tokenizer_that_is_none(model):
    (model / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "evil"}}')
    with pytest.raises(InputError, match="tokenizer.json: not a tokenizer"):
        load_tokenizer(model)
