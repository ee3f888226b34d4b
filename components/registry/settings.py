"""Settings of the registry stage."""

from pydantic import Field

from components.platform.energy import EnergySettings
from components.platform.settings import Settings
from components.registry.gate.settings import GateSettings


class RegistrySettings(Settings):
    """Where the trained model is registered, and when it becomes the one to use."""

    model_name: str = Field(description="registered model's name in MLflow")
    gate: GateSettings = Field(default=GateSettings(), description="what a challenger has to show to become champion")
    licence: str = Field(
        default="other", description="of the weights, as Hugging Face names it: what the base model and the data allow"
    )
    base_model: str | None = Field(
        default=None, description="the base model's name on the Hugging Face hub, for the model card"
    )
    energy: EnergySettings = Field(default=EnergySettings(), description="how the model card tells energy and CO₂")
