"""A submission: everything that determines what is sent to a cluster, and that it can be sent again from."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from components.platform.errors import InputError, SettingsError
from pipelines.images import pinned
from pipelines.recipe import Recipe, load_recipe, recipe_path
from pipelines.versions import code_version, commit, package_version


@dataclass(frozen=True)
class Submission:
    """One recipe, as it was written, with the code and the images that it is to run with.

    Attributes:
        text: the recipe file.
        data: root of the source files, where it really is.
        images: digest of each image by its name; empty: images are as the recipe names them.
        continue_from: alias or number of the registered version that the run goes on from, with what is new since;
            None: a whole run, from the recipe's base model.
        code: hash of the project's code (see `versions`).
        commit: the git commit of that code, for people.
        version: the package's version.
    """

    text: str
    data: str
    images: dict[str, str] = field(default_factory=dict)
    continue_from: str | None = None
    code: str = field(default_factory=code_version)
    commit: str | None = field(default_factory=commit)
    version: str = field(default_factory=package_version)

    @classmethod
    def of(
        cls,
        name_or_path: str,
        data: str | None = None,
        images: dict[str, str] | None = None,
        continue_from: str | None = None,
    ) -> Submission:
        """What this code makes of a recipe (arguments as of `load_recipe`).

        Raises:
            SettingsError: the recipe is wrong, or does not say how to go on from a model although it is to, or an
                image has no digest although `images` are given.
        """
        recipe = load_recipe(name_or_path, data)
        text = recipe_path(name_or_path).read_text(encoding="utf-8")
        if images:
            pinned(recipe, images)  # says now what is missing
        if continue_from is not None and recipe.pretrain.retraining is None:
            raise SettingsError(
                f"recipe {recipe.name} has no section pretrain.retraining, so each run would train everything from "
                f"its base model again; say there how it goes on from the {continue_from} with what is new"
            )
        return cls(text, recipe.platform.data, images or {}, continue_from)

    @cached_property
    def recipe(self) -> Recipe:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "recipe.yaml")
            path.write_text(self.text, encoding="utf-8")
            recipe = load_recipe(str(path), self.data)
        return pinned(recipe, self.images) if self.images else recipe

    @property
    def version_name(self) -> str:
        """Name of the pipeline version: the same for the same recipe, images and code."""
        content = json.dumps([self.text, self.data, self.images, self.continue_from])
        return f"{hashlib.sha256(content.encode()).hexdigest()[:12]}-{self.code[:12]}"

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, content: str) -> Submission:
        """Raises InputError when `content` is not what `to_json` made."""
        try:
            return cls(**json.loads(content))
        except (ValueError, TypeError) as error:
            raise InputError(f"not the record of a submission: {error}") from None
