"""Energy and carbon dioxide of a run."""

from __future__ import annotations

from dataclasses import dataclass

# Uptime Institute, Global Data Center Survey 2023: the mean of its respondents.
POWER_USAGE_EFFECTIVENESS = 1.58
# Ember, Global Electricity Review 2024: the world's electricity in 2023.
GRAMS_CO2_PER_KWH = 480.0
WATTS_PER_KILOWATT, GRAMS_PER_KILOGRAM = 1e3, 1e3


@dataclass(frozen=True)
class EnergyAssumptions:
    """What turns GPU-hours into energy and CO₂.

    Attributes:
        power_usage_effectiveness: energy of the data centre over that of its computers.
        grams_co2_per_kwh: of the electricity used.
    """

    power_usage_effectiveness: float = POWER_USAGE_EFFECTIVENESS
    grams_co2_per_kwh: float = GRAMS_CO2_PER_KWH


def kilowatt_hours(gpu_hours: float, watts: float, assumptions: EnergyAssumptions) -> float:
    """Energy of a run: every GPU draws its design power all the time; the rest of the nodes is not counted."""
    return gpu_hours * watts / WATTS_PER_KILOWATT * assumptions.power_usage_effectiveness


def kilograms_co2(kwh: float, assumptions: EnergyAssumptions) -> float:
    return kwh * assumptions.grams_co2_per_kwh / GRAMS_PER_KILOGRAM
