"""Weights between a Hugging Face folder and the ranks, streamed: a rank reads only the slices that are its own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn

from components.platform.errors import InputError
from components.platform.model_folder import CONFIG_NAME, read_object
from components.platform.storage import write_atomically
from components.platform.weights import INDEX_NAME, SINGLE_NAME, WeightFiles, opened
from components.training.models.common.config import ModelConfig
from components.training.process import Process
from components.training.tokenizer import read_tokenizer

BYTES_PER_FILE = 4 * 1024**3
ROWS_AT_ONCE = 8192  # of an embedding table, when its mean is computed


@torch.no_grad()
def load_weights(folder: Path, parameters: Mapping[str, nn.Parameter], config: ModelConfig, process: Process) -> None:
    """Fill this rank's parameters from a Hugging Face folder.

    Where `config.vocab_size` is larger than the checkpoint's, the new tokens start as the mean of the old ones
    (Hewitt 2021: a new token then takes about 1/vocabulary of the probability, not most of it).

    Raises:
        InputError: a tensor is missing or has another shape than the configuration says.
    """
    with WeightFiles(folder) as files:
        for name, parameter in parameters.items():
            if name in config.weight_names.vocabulary:
                _fill_vocabulary_rows(files, stored_name(files, name, config), parameter, config.vocab_size, process)
            else:
                parameter.copy_(_own_slice(files, name, parameter, process))


def stored_name(files: WeightFiles, name: str, config: ModelConfig) -> str:
    """Of two tensors that are tied, a safetensors file holds one; which, depends on what wrote it."""
    head = f"{config.weight_names.head}weight"
    return head if config.tie_word_embeddings and name not in files and head in files else name


def _own_slice(files: WeightFiles, name: str, parameter: nn.Parameter, process: Process) -> Tensor:
    dim = getattr(parameter, "partition_dim", None)
    whole = list(parameter.shape)
    if dim is not None:
        whole[dim] *= process.layout.tensor_parallel_size
    if files.shape(name) != whole:
        raise InputError(f"{files.folder}: {name} is {files.shape(name)}; config.json implies {whole}")
    if dim is None:
        return files.slice(name)[:]
    width = parameter.shape[dim]
    first = process.layout.tensor_rank * width
    return files.slice(name)[first : first + width] if dim == 0 else files.slice(name)[:, first : first + width]


def _fill_vocabulary_rows(
    files: WeightFiles, name: str, parameter: nn.Parameter, vocab_size: int, process: Process
) -> None:
    """Rows of the checkpoint, then new tokens as their mean, then zeros up to the padded size."""
    known, hidden = files.shape(name)
    if hidden != parameter.shape[1] or known > vocab_size:
        raise InputError(f"{files.folder}: {name} is [{known}, {hidden}]; config.json implies {[vocab_size, hidden]}")
    rows = parameter.shape[0]
    first = process.layout.tensor_rank * rows
    old, new = (min(max(bound - first, 0), rows) for bound in (known, vocab_size))
    if old:
        parameter[:old] = files.slice(name)[first : first + old]
    if new > old:
        parameter[old:new] = _mean_row(files, name).to(parameter.dtype)
    parameter[new:] = 0.0


def _mean_row(files: WeightFiles, name: str) -> Tensor:
    rows, hidden = files.shape(name)
    total = torch.zeros(hidden, dtype=torch.float64)
    for first in range(0, rows, ROWS_AT_ONCE):
        total += files.slice(name)[first : first + ROWS_AT_ONCE].double().sum(0)
    return total / rows


def export_model(
    parameters: Mapping[str, nn.Parameter],
    config: ModelConfig,
    process: Process,
    base: Path,
    tokenizer: Path,
    target: Path,
) -> None:
    """Write the model of all ranks as one Hugging Face folder; the folder appears whole or not at all.

    Args:
        parameters: this rank's slices, under Hugging Face names.
        config: with the vocabulary size to export; padding rows beyond it are dropped.
        base: folder whose `config.json` the exported one continues.
        tokenizer: folder copied along, chat template included.
        target: folder to make, on storage that all ranks share; replaced if it exists.
    """
    unfinished = target.with_name(f".{target.name}.unfinished")
    if process.is_main:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
    dist.barrier()
    if process.layout.data_rank == 0:
        _write_stage(parameters, config, process, unfinished)
    dist.barrier()
    if process.is_main:
        _name_files(unfinished)
        shutil.copytree(tokenizer, unfinished, dirs_exist_ok=True)
        dtype = next(iter(parameters.values())).dtype
        _write_configs(base, unfinished, config.vocab_size, str(dtype).removeprefix("torch."))
        shutil.rmtree(target, ignore_errors=True)
        os.replace(unfinished, target)
    dist.barrier()


def _write_stage(parameters: Mapping[str, nn.Parameter], config: ModelConfig, process: Process, folder: Path) -> None:
    """Write one pipeline stage's weights, in files of at most about 4 GB."""
    vocabulary = config.weight_names.vocabulary
    if config.tie_word_embeddings and not process.layout.is_first_stage:
        # The last stage's head is a copy of the embedding, which the first stage writes.
        parameters = {name: parameter for name, parameter in parameters.items() if name not in vocabulary}
    pending: dict[str, Tensor] = {}
    size = count = 0

    def flush() -> None:
        nonlocal size, count
        if pending:
            path = folder / f"stage-{process.layout.pipeline_rank:03}-{count:05}.safetensors"
            save_file(pending, path, metadata={"format": "pt"})
            pending.clear()
            size, count = 0, count + 1

    for name, tensor in _whole_tensors(parameters, process):
        if name in vocabulary:
            tensor = tensor[: config.vocab_size].clone()
        if size + tensor.nbytes > BYTES_PER_FILE:
            flush()
        pending[name] = tensor
        size += tensor.nbytes
    flush()


def _whole_tensors(parameters: Mapping[str, nn.Parameter], process: Process) -> Iterator[tuple[str, Tensor]]:
    """All tensors of this stage, put together one at a time; yields on the first rank of each tensor group only."""
    for name, parameter in parameters.items():
        whole = gather_slices(parameter.detach(), getattr(parameter, "partition_dim", None), process)
        if whole is not None:
            yield name, whole.cpu().clone()


def gather_slices(own: Tensor, dim: int | None, process: Process) -> Tensor | None:
    """Put together a tensor that is split along `dim` (None: not split), on the first rank of each tensor group.

    The other ranks of the group get None.
    """
    group, is_first = process.groups.tensor, process.layout.tensor_rank == 0
    if dim is None or group.size() == 1:
        return own if is_first else None
    own = own.contiguous()
    slices = [torch.empty_like(own) for _ in range(group.size())] if is_first else None
    dist.gather(own, slices, group=group, group_dst=0)
    return torch.cat(slices, dim=dim) if is_first else None


def _name_files(folder: Path) -> None:
    """Give the stages' files their final names, and index them if they are several."""
    files = sorted(folder.glob("stage-*.safetensors"))
    weight_map: dict[str, str] = {}
    total = 0
    for number, path in enumerate(files, start=1):
        name = SINGLE_NAME if len(files) == 1 else f"model-{number:05}-of-{len(files):05}.safetensors"
        total += path.stat().st_size
        with opened(path) as file:
            weight_map |= dict.fromkeys(file.keys(), name)
        os.replace(path, folder / name)
    if len(files) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        write_atomically(folder / INDEX_NAME, json.dumps(index, indent=1, sort_keys=True))


def _write_configs(base: Path, folder: Path, vocab_size: int, dtype: str) -> None:
    """`config.json` and `generation_config.json` with the new vocabulary; generation ends at either kind of end."""
    tokens = read_tokenizer(folder)
    special = {"bos_token_id": tokens.bos, "eos_token_id": tokens.eos, "pad_token_id": tokens.pad}
    special = {key: value for key, value in special.items() if value is not None}
    record = read_object(base / CONFIG_NAME) | special | {"vocab_size": vocab_size}
    record.pop("dtype", None)
    record["torch_dtype"] = dtype
    write_atomically(folder / CONFIG_NAME, json.dumps(record, indent=1, sort_keys=True))
    ends = [token for token in (tokens.eos, tokens.turn_end) if token is not None]
    generation = special | ({"eos_token_id": ends} if ends else {})
    write_atomically(folder / "generation_config.json", json.dumps(generation, indent=1, sort_keys=True))
