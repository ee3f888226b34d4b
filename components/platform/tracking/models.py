"""The model registry: versions of a model, registered by reference, each with tags that say what it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from components.platform.errors import InputError
from components.platform.manifest import Manifest
from components.platform.tracking.tracker import existing_client

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

PLACE_TAG, PLACE_NOTE, LOGGED_MODEL_TAG = "meditron.model", "model.json", "meditron.logged_model"
DESCRIPTION_LENGTH = 5000  # MLflow's limit


@dataclass(frozen=True)
class RegisteredVersion:
    """A version of a registered model.

    Attributes:
        version: its number.
        run_id: of the MLflow run that registered it.
        tags: among them `<role>.uri` and `<role>.digest` of each artifact behind it (role: "corpus", "pretrained",
            "tuned", "quantized" and their evaluations).
        aliases: that point at it, such as "champion".
    """

    name: str
    version: int
    run_id: str
    tags: dict[str, str]
    aliases: tuple[str, ...]

    def artifact(self, role: str) -> Manifest:
        """The artifact of a role, from where its tags say that it lies; its files are not looked at.

        Raises:
            InputError: it is gone, or was changed since it was registered.
        """
        try:
            manifest = Manifest.load(self.tags[f"{role}.uri"])
        except (InputError, KeyError) as error:
            raise InputError(f"{self.name} version {self.version}: its {role} is not to be had: {error}") from None
        if manifest.digest != self.tags.get(f"{role}.digest"):
            raise InputError(
                f"{self.name} version {self.version}: {manifest.uri} is not the {role} that it was made from any more"
            )
        return manifest


class ModelRegistry:
    """The registered models of an MLflow that is there."""

    def __init__(self, uri: str) -> None:
        """Raises InputError: there is no such database."""
        self._client, self.uri = existing_client(uri), uri

    def register(
        self, name: str, source: str, run_id: str, tags: Mapping[str, str], model_id: str | None = None
    ) -> RegisteredVersion:
        """Register the model that lies at `source`; no bytes are copied.

        The same source is registered once: a repeated run finds its version again. A server takes no paths for a
        source, but what lies among its own artifacts: there the version points at the logged model, or at a note of
        the place. The tag `meditron.model` names the place everywhere.

        Args:
            model_id: of the logged model that stands for the same artifact.
        """
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        versions = self._client.search_model_versions(f"name = '{name}'")
        known = next((version for version in versions if version.tags.get(PLACE_TAG) == source), None)
        if known is None:
            tags = {**tags, PLACE_TAG: source} | ({LOGGED_MODEL_TAG: model_id} if model_id else {})
            if urlparse(self.uri).scheme in {"http", "https"} and not urlparse(source).scheme:
                source = f"models:/{model_id}" if model_id else self._note(run_id, tags)
            known = self._client.create_model_version(name, source, run_id=run_id, tags=tags, model_id=model_id)
        return self.get(name, known.version)

    def _note(self, run_id: str, tags: Mapping[str, str]) -> str:
        """A file among the run's artifacts that says where the model lies."""
        self._client.log_dict(run_id, dict(tags), PLACE_NOTE)
        return f"runs:/{run_id}/{PLACE_NOTE}"

    def describe(self, version: RegisteredVersion, text: str) -> None:
        """Set what MLflow's page shows of a version: Markdown, cut where it is too long."""
        self._client.update_model_version(version.name, str(version.version), text[:DESCRIPTION_LENGTH])

    def get(self, name: str, version: str | int) -> RegisteredVersion:
        """A version by its number.

        Raises:
            InputError: there is no such version.
        """
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_model_version(name, str(version))
        except MlflowException as error:
            raise InputError(f"MLflow at {self.uri}: no version {version} of model {name}: {error}") from None
        return _version(found, self._aliases(name))

    def versions(self, name: str) -> list[RegisteredVersion]:
        """All versions, the newest first."""
        found = self._client.search_model_versions(f"name = '{name}'")
        aliases = self._aliases(name) if found else {}
        return sorted((_version(one, aliases) for one in found), key=lambda version: version.version, reverse=True)

    def find(self, name: str, alias: str) -> RegisteredVersion | None:
        """The version that an alias points at, if there is one."""
        from mlflow.exceptions import MlflowException

        try:
            return self.get(name, self._client.get_model_version_by_alias(name, alias).version)
        except MlflowException as error:  # no such model, no such alias
            if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                raise
            return None

    def set_alias(self, version: RegisteredVersion, alias: str) -> None:
        self._client.set_registered_model_alias(version.name, alias, str(version.version))

    def set_tags(self, version: RegisteredVersion, tags: Mapping[str, str]) -> None:
        """Those that are so already cost no request."""
        for key, value in tags.items():
            if version.tags.get(key) != value:
                self._client.set_model_version_tag(version.name, str(version.version), key, value)

    def _aliases(self, name: str) -> dict[str, str]:
        """Which version each alias points at."""
        return self._client.get_registered_model(name).aliases


def _version(found: ModelVersion, aliases: Mapping[str, str]) -> RegisteredVersion:
    pointing = tuple(alias for alias, number in aliases.items() if str(number) == str(found.version))
    return RegisteredVersion(found.name, int(found.version), found.run_id, dict(found.tags), pointing)
