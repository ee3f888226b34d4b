"""Benchmarks are data: one YAML file each in `benchmarks/`, checked on reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from components.platform.context import PlatformSettings
from components.platform.data import SourceFile, resolve
from components.platform.errors import SettingsError
from components.platform.settings import Settings, read_recipe, validate

SplitFiles = Mapping[str, Sequence[SourceFile]]


class Benchmark(Settings):
    """What a benchmark consists of and how its questions are put to a model."""

    name: str = Field(description="short name; also the name of the YAML file")
    title: str = Field(description="name for people")
    reader: Literal["pubmedqa", "medqa", "medmcqa", "mmlu"] = Field(description="published layout of the files")
    instruction: str = Field(description="what the model is told to do (idea of the paper's Table 2)")
    labels: tuple[str, ...] = Field(min_length=2, description="all labels that an answer may have")
    answer: Literal["option", "word"] = Field(
        description="option: options are listed and one is chosen; word: the label itself is the reply"
    )
    subjects: tuple[str, ...] = Field(default=(), description="the subjects that count; empty: all that are there")
    evaluation_split: str = Field(description="the split that scores are reported on")
    demonstration_split: str = Field(description="the split that few-shot demonstrations are drawn from")
    splits: dict[str, dict[str, tuple[str, ...]]] = Field(
        description="split → role of a file for the reader → names or globs below the data root, or hub addresses"
    )

    @model_validator(mode="after")
    def _has_its_splits(self) -> Benchmark:
        for use in ("evaluation_split", "demonstration_split"):
            if getattr(self, use) not in self.splits:
                raise ValueError(f"{use} {getattr(self, use)!r} is not one of {sorted(self.splits)}")
        if self.evaluation_split == self.demonstration_split:
            raise ValueError(f"evaluation_split and demonstration_split are both {self.evaluation_split!r}")
        return self

    def patterns(self, split: str) -> list[str]:
        """Names or globs of a split's files below the data root."""
        return [pattern for patterns in self.splits[split].values() for pattern in patterns]

    def files(self, split: str, platform: PlatformSettings) -> SplitFiles:
        """The source files of a split by role, found below the data root.

        Raises:
            SettingsError: the benchmark has no such split.
            InputError: a file is missing.
        """
        if split not in self.splits:
            raise SettingsError(
                f"benchmark {self.name} has no split {split!r}; choose {', '.join(sorted(self.splits))}"
            )
        return {
            role: [file for pattern in patterns for file in resolve(platform, pattern)]
            for role, patterns in self.splits[split].items()
        }

    def source_files(self, split: str, platform: PlatformSettings) -> list[SourceFile]:
        """The same without their roles; a file may be there more than once. Raises as `files` does."""
        return [file for files in self.files(split, platform).values() for file in files]


def benchmark_names() -> list[str]:
    """Names of all benchmarks, sorted."""
    return sorted(Path(entry.name).stem for entry in _folder().iterdir() if entry.name.endswith(".yaml"))


@cache
def load_benchmark(name: str) -> Benchmark:
    """Read `benchmarks/<name>.yaml`.

    Raises:
        SettingsError: there is no such benchmark, or its file is wrong.
    """
    if name not in benchmark_names():
        raise SettingsError(f"no benchmark is called {name!r}; choose from {', '.join(benchmark_names())}")
    recipe = read_recipe(_folder() / f"{name}.yaml")
    return validate(Benchmark, recipe.values, recipe)


def _each_known_and_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{repeated[0]} is listed twice")
    try:
        for name in names:
            load_benchmark(name)
    except SettingsError as error:
        raise ValueError(str(error)) from None
    return names


BenchmarkNames = Annotated[tuple[str, ...], AfterValidator(_each_known_and_once)]
"""Names of benchmarks in a recipe."""


def _folder() -> Path:
    return Path(str(files(__package__).joinpath("benchmarks")))
