"""Energy and carbon dioxide of a run.

Patterson et al. 2021 (arXiv 2104.10350, section 2.5): kWh = hours × processors × average watts of each × PUE / 1000,
and kg of CO₂ equivalent = kWh × kg per kWh. Where the processors' energy was measured, it takes the place of
hours × processors × watts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from components.platform.settings import Settings

# Uptime Institute, Global Data Center Survey 2023: the mean of its respondents.
POWER_USAGE_EFFECTIVENESS = 1.58
# Ember, Global Electricity Review 2024: the world's electricity in 2023.
GRAMS_CO2_PER_KWH = 480.0
WATTS_PER_KILOWATT, GRAMS_PER_KILOGRAM = 1e3, 1e3
SECONDS_PER_HOUR, JOULES_PER_KILOWATT_HOUR = 3600.0, 3.6e6


class EnergyAssumptions(Settings):
    """What turns the energy of computers into that of a data centre, and into CO₂."""

    power_usage_effectiveness: float = Field(
        default=POWER_USAGE_EFFECTIVENESS, ge=1, description="energy of the data centre over that of its computers"
    )
    grams_co2_per_kwh: NonNegativeFloat = Field(default=GRAMS_CO2_PER_KWH, description="of the electricity used")


class EnergySettings(EnergyAssumptions):
    """How the energy of a run is told."""

    watts_per_device: PositiveFloat | None = Field(
        default=None, description="average power of one device, for an estimate where none was measured"
    )


@dataclass(frozen=True)
class Usage:
    """What one start of a job took, from when its ranks were ready to where it ended or was last noted.

    Attributes:
        device: name of the GPU model, or "machine" where there were none.
        devices: how many of them.
        seconds: of wall time.
        gpu_joules: of all GPUs; None: not measured.
        cpu_joules: of processors and memory of all machines, whatever else they did; None: not measured.
    """

    device: str
    devices: int
    seconds: float
    gpu_joules: float | None
    cpu_joules: float | None

    @property
    def device_hours(self) -> float:
        return self.devices * self.seconds / SECONDS_PER_HOUR

    @property
    def joules(self) -> float | None:
        """Of the devices, and what is known of the rest; None: the devices were not measured."""
        if self.device == "machine":
            return self.cpu_joules
        return None if self.gpu_joules is None else self.gpu_joules + (self.cpu_joules or 0.0)


@dataclass(frozen=True)
class Energy:
    """Energy of a job.

    Attributes:
        how: "estimated" from watts that a recipe names; "not measured" leaves `kwh` and `kg_co2` None.
        kwh: of the data centre.
    """

    how: Literal["measured", "estimated", "not measured"]
    device_hours: float
    kwh: float | None = None
    kg_co2: float | None = None


def energy(starts: Sequence[Usage], settings: EnergySettings) -> Energy:
    """Energy of a job over all its starts. One that was not measured in one of them counts as not measured."""
    hours = sum(start.device_hours for start in starts)
    measured = [start.joules for start in starts]
    if measured and None not in measured:
        how, kwh = "measured", sum(measured) / JOULES_PER_KILOWATT_HOUR * settings.power_usage_effectiveness
    elif measured and settings.watts_per_device is not None:
        how, kwh = "estimated", kilowatt_hours(hours, settings.watts_per_device, settings)
    else:
        return Energy("not measured", hours)
    return Energy(how, hours, kwh, kilograms_co2(kwh, settings))


def kilowatt_hours(device_hours: float, watts: float, assumptions: EnergyAssumptions) -> float:
    """Energy of devices that draw `watts` each all the time; the rest of the nodes is not counted."""
    return device_hours * watts / WATTS_PER_KILOWATT * assumptions.power_usage_effectiveness


def kilograms_co2(kwh: float, assumptions: EnergyAssumptions) -> float:
    return kwh * assumptions.grams_co2_per_kwh / GRAMS_PER_KILOGRAM
