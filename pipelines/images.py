"""Images by digest: a tag can be moved to another image, a digest can't.

The lock file maps each image to the digest that a registry gave it when it was pushed:

    meditron/train:0.1.0: sha256:1f0c...
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from components.platform.errors import InputError, SettingsError
from pipelines.cluster import StepPlacement
from pipelines.recipe import Recipe

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def read_lock(path: Path) -> dict[str, str]:
    """Digest of each image, by its name with tag.

    Raises:
        InputError: the file is missing, is no such mapping, or has something else than a digest in it.
    """
    try:
        lock = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; expected a file of image: digest") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(lock, dict):
        raise InputError(f"{path}: expected lines such as meditron/train:0.1.0: sha256:...")
    for image, digest in lock.items():
        if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
            raise InputError(f"{path}: {image}: expected sha256: and 64 hex digits, found {digest!r}")
    return dict(sorted(lock.items()))


def images(recipe: Recipe) -> list[str]:
    """All images that the recipe names, each once."""
    named: dict[str, None] = {}

    def note(image: str) -> str:
        named[image] = None
        return image

    _with_images(recipe, note)
    return list(named)


def unpinned(recipe: Recipe) -> list[str]:
    """Images that are not named by digest."""
    return [image for image in images(recipe) if not DIGEST.search(image)]


def pinned(recipe: Recipe, digests: Mapping[str, str]) -> Recipe:
    """The recipe with each image named by its digest; the tag stays, for people.

    Raises:
        SettingsError: an image is neither in `digests` nor has a digest already.
    """
    if unknown := [image for image in unpinned(recipe) if image not in digests]:
        raise SettingsError(f"no digest is known of {', '.join(unknown)}; add them to the file given with --images")
    return _with_images(recipe, lambda image: f"{image}@{digests[image]}" if image in digests else image)


def _with_images(recipe: Recipe, renamed: Callable[[str], str]) -> Recipe:
    """The recipe with every image name passed through `renamed`."""

    def placed(placement: StepPlacement) -> StepPlacement:
        return placement.model_copy(update={"image": renamed(placement.image)}) if placement.image else placement

    cluster, platform = recipe.cluster, recipe.platform
    steps = {name: placed(placement) for name, placement in cluster.steps.items()}
    cluster = cluster.model_copy(update={"default": placed(cluster.default), "steps": steps})
    if pods := platform.launcher.pytorchjob:
        pods = pods.model_copy(update={"image": renamed(pods.image)})
        launcher = platform.launcher.model_copy(update={"pytorchjob": pods})
        platform = platform.model_copy(update={"launcher": launcher})
    return recipe.model_copy(update={"cluster": cluster, "platform": platform})
