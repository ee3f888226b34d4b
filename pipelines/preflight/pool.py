"""Are there enough free GPUs?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.platform.errors import UserError
from pipelines.preflight.site import Site


def check_pool(site: Site) -> str:
    """Nodes of the training jobs, and of the steps that want GPUs themselves.

    Raises:
        UserError: too few nodes match, tolerate or are free.
    """
    found = []
    if site.pods and site.pods.gpus_per_node:
        world_size = max(stage.layout.world_size for stage in (site.recipe.pretrain, site.recipe.sft))
        per_node = min(world_size, site.pods.gpus_per_node)
        need = world_size // per_node
        # A pod asks for all GPUs of its node, also when the layout has fewer ranks
        found.append(
            _room(site, "training", need, site.pods.gpus_per_node, site.pods.node_selector, site.pods.tolerations)
        )
    for name, step in site.recipe.cluster.steps.items():
        if step.gpus:
            tolerations = [{"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in step.tolerate]
            found.append(_room(site, name, 1, step.gpus, step.node_selector, tolerations))
    return "\n".join(found) or "no step asks for GPUs"


def _room(
    site: Site, what: str, need: int, gpus: int, selector: Mapping[str, str], tolerations: Sequence[Mapping[str, Any]]
) -> str:
    nodes = site.kubernetes.nodes(selector)
    labels = ", ".join(f"{key}={value}" for key, value in selector.items()) or "any label"
    if not nodes:
        raise UserError(f"{what}: no node that is ready has {labels}; correct node_selector")
    suited = [node for node in nodes if node.takes(tolerations)]
    if not suited:
        taints = sorted({f"{key}:{effect}" for node in nodes for key, _, effect in node.taints})
        raise UserError(f"{what}: all {len(nodes)} nodes with {labels} are tainted ({', '.join(taints)}); tolerate it")
    free = [node for node in suited if node.free >= gpus]
    if len(free) < need:
        state = ", ".join(f"{node.name} {node.free}/{node.gpus}" for node in suited)
        raise UserError(
            f"{what}: {len(free)} nodes have {gpus} GPUs free, {need} are needed (free/all: {state}); wait until they "
            "are, or take a smaller layout"
        )
    return f"{what}: {len(free)} of {len(nodes)} nodes have {gpus} GPUs free, {need} needed"
