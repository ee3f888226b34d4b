"""Typed settings from recipe YAML, with errors that point at the file, the line and the key."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from components.platform.errors import SettingsError

T = TypeVar("T", bound="Settings")


class Settings(BaseModel):
    """Base of all settings: immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


@dataclass(frozen=True)
class RecipeFile:
    """A parsed recipe that remembers on which line each key stands."""

    path: Path
    values: dict[str, Any]
    root: yaml.Node

    def line(self, location: Sequence[str | int]) -> int:
        """The 1-based line of the deepest node of `location` that the file really has."""
        node, line = self.root, self.root.start_mark.line
        for step in location:
            if isinstance(node, yaml.MappingNode):
                found = next(((k, v) for k, v in node.value if k.value == str(step)), None)
                if found is None:
                    continue  # pydantic puts union branch names into the location; they are not in the file
                line, node = found[0].start_mark.line, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = node.start_mark.line
        return line + 1


def read_recipe(path: Path) -> RecipeFile:
    """Parse a recipe file.

    Raises:
        SettingsError: the file is missing, is not YAML, is not a mapping, or has a key twice.
    """
    if not path.is_file():
        raise SettingsError(f"{path}: no such recipe file")
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # dates may be none, lists lie too deep in others
        raise SettingsError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(root, yaml.MappingNode):
        raise SettingsError(f"{path}: expected sections such as `corpus:` and `pretrain:` at the top level")
    _refuse_duplicate_keys(path, root)
    return RecipeFile(path, values, root)


def _refuse_duplicate_keys(path: Path, root: yaml.Node) -> None:
    """Visits each node once: aliases of aliases stand for more nodes than there is time for, or for themselves."""
    visited, nodes = set(), [root]
    while nodes:
        node = nodes.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise SettingsError(f"{path}:{key.start_mark.line + 1}: expected a name as the key")
                if key.value in seen:
                    raise SettingsError(f"{path}:{key.start_mark.line + 1}: {key.value}: this key is given twice")
                seen.add(key.value)
                nodes.append(value)
        elif isinstance(node, yaml.SequenceNode):
            nodes += node.value


def validate(model: type[T], values: Mapping[str, Any], recipe: RecipeFile, section: tuple[str, ...] = ()) -> T:
    """Build `model` from `values`, a section of `recipe`.

    Raises:
        SettingsError: one line per problem: `file:line: section.key: what is wrong`.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_describe(recipe, section, problem, model) for problem in error.errors()]
        raise SettingsError("\n".join(lines)) from None


def load_section(path: Path | str, section: str, model: type[T]) -> T:
    """Read one section of a recipe file, as a stage does that runs by itself."""
    recipe = read_recipe(Path(path))
    if section not in recipe.values:
        raise SettingsError(f"{path}: no section `{section}:`")
    return validate(model, recipe.values[section], recipe, (section,))


def _describe(recipe: RecipeFile, section: tuple[str, ...], problem: ErrorDetails, model: type[Settings]) -> str:
    location = (*section, *problem["loc"])
    key = ".".join(str(step) for step in location)
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        known = sorted(_known_keys(model, problem["loc"][:-1]))
        close = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        message = "unknown key" + (f"; did you mean `{close[0]}`?" if close else f"; known keys: {', '.join(known)}")
    elif problem["type"] == "missing":
        message = "this key is required"
    elif not isinstance(problem["input"], dict | list) and problem["input"] is not None:
        message += f" (found {problem['input']!r})"
    return f"{recipe.path}:{recipe.line(location)}: {key}: {message}"


def _known_keys(model: type[BaseModel], location: Sequence[str | int]) -> set[str]:
    """Field names of the model that stands at `location` inside `model` (empty when it can't be followed)."""
    schema = model.model_json_schema()
    node: Any = schema
    for step in location:
        node = _follow(node, step, schema)
    return set(_dereference(node, schema).get("properties", {}))


def _follow(node: Any, step: str | int, schema: Any) -> Any:
    node = _dereference(node, schema)
    if isinstance(step, int):
        return node.get("items", {})
    if step in node.get("properties", {}):
        return node["properties"][step]
    branches = [_dereference(branch, schema) for branch in node.get("anyOf", [])]
    return next((branch for branch in branches if branch.get("title") == step), node)


def _dereference(node: Any, schema: Any) -> Any:
    if "$ref" in node:
        return schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    references = [branch for branch in node.get("anyOf", []) if "$ref" in branch]
    return _dereference(references[0], schema) if len(references) == 1 else node
