"""Does training fit into the memory of the GPUs?"""

from __future__ import annotations

from components.platform.errors import UserError
from components.training.planner.hardware import GIB, load_hardware
from components.training.planner.plan import make_plan
from components.training.planner.run import PlannedRun
from pipelines.planning import base_sizes, hardware_of
from pipelines.preflight.site import Site


def check_memory(site: Site) -> str:
    """Raises UserError when the planner says that pretraining does not fit."""
    if site.pods is None or not site.pods.gpus_per_node:
        return "not needed: training runs on CPUs"
    settings = site.recipe.pretrain
    hardware = load_hardware(hardware_of(site.recipe))
    run = PlannedRun.of_settings(settings, base_sizes(site.recipe, None), settings.layout.for_rank(0), settings.compile)
    plan = make_plan(run, hardware)
    most = max(memory.total for memory in plan.memories) / GIB
    text = f"{most:.1f} GiB planned of {hardware.memory_gib:.1f} on {hardware.name}"
    if not plan.fits:
        raise UserError(f"{text}: does not fit; see meditron plan --search for layouts that do")
    return text
