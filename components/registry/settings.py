"""Settings of the registry stage."""

from pydantic import Field

from components.platform.energy import EnergySettings
from components.platform.settings import Settings
from components.registry.gate.settings import GateSettings


class RegistrySettings(Settings):
    """Where the trained model is registered, and when it becomes the one to use."""

    model_name: str = Field(description="registered model's name in MLflow")
    gate: GateSettings = Field(default=GateSettings(), description="what a challenger has to show to become champion")
    energy: EnergySettings = Field(default=EnergySettings(), description="how the model card tells energy and CO₂")
