"""Where a run happens: data, workspace, tracking and launcher. The one part of a recipe that differs by machine."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field

from components.platform import storage
from components.platform.launcher.settings import LauncherSettings
from components.platform.settings import Settings, load_section


class TrackingSettings(Settings):
    """Where MLflow records the run."""

    uri: str = Field(description="MLflow tracking URI: sqlite:///FILE, or the http(s) address of a server")
    experiment: str = Field(default="meditron", description="MLflow experiment name")
    artifacts: str | None = Field(
        default=None,
        description="artifact root of a new experiment: a folder or s3:// prefix; a server has its own",
    )


class PlatformSettings(Settings):
    """What every stage is told about the machine it runs on."""

    data: str = Field(description="root of the source files: a folder, relative to the recipe's, or an s3:// prefix")
    workspace: str = Field(description="root of the artifacts that stages write: a folder or an s3:// prefix")
    follow_links: bool = Field(
        default=False, description="whether symbolic links in the data root may lead out of it, to any file"
    )
    tracking: TrackingSettings
    launcher: LauncherSettings = LauncherSettings()
    workers: int | None = Field(
        default=None, ge=1, description="processes that share out work on one machine; by default one per core"
    )

    def located(self, recipe: Path, data: str | None = None) -> PlatformSettings:
        """The same with the data root where it really is: `data` if given, else what the file `recipe` says."""
        if data is None:
            data = self.data if storage.is_s3(self.data) else str((recipe.parent / self.data).resolve())
        return self.model_copy(update={"data": data})


def load_platform(recipe: Path | str) -> PlatformSettings:
    """The `platform` section of a recipe, for a stage that runs by itself; MEDITRON_DATA wins over its data root."""
    settings = load_section(recipe, "platform", PlatformSettings)
    return settings.located(Path(recipe), os.environ.get("MEDITRON_DATA") or None)
