"""Settings of the registry stage."""

from pydantic import Field

from components.platform.settings import Settings


class RegistrySettings(Settings):
    """Where the trained model is registered."""

    model_name: str = Field(description="registered model's name in MLflow")
    alias: str = Field(default="challenger", description="alias that points at the newest version")
