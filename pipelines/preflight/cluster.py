"""Does the cluster have what the recipe names: the kind of the training jobs, secrets, claims, service accounts?"""

from __future__ import annotations

from components.platform.errors import UserError
from components.platform.kubernetes_reader import KubernetesError
from components.platform.launcher.kinds import KINDS
from pipelines.preflight.site import DoubtError, Site

SHARED = "ReadWriteMany"
NOT_NEEDED = "not needed: ranks are processes of their step"


def check_job_kind(site: Site) -> str:
    """Raises UserError when the cluster has no such kind, or the steps may not create it."""
    if site.pods is None:
        return NOT_NEEDED
    kind = KINDS[site.recipe.platform.launcher.kind]
    name = f"{kind.plural}.{kind.group}/{kind.version}"
    if not site.kubernetes.serves(kind.group, kind.version, kind.plural):
        raise UserError(f"the cluster does not know {name}; install the operator that runs {kind.name}s")
    account = site.recipe.cluster.kubeflow.service_account
    who, user = "you", None
    if account:
        who, user = account, f"system:serviceaccount:{site.namespace}:{account}"
    try:
        allowed = site.kubernetes.may("create", kind.group, kind.plural, site.pods.namespace, user)
    except KubernetesError:  # to ask for others is a right of its own
        who, allowed = "you", site.kubernetes.may("create", kind.group, kind.plural, site.pods.namespace)
    if not allowed:
        raise UserError(f"{who} may not create {name} in namespace {site.pods.namespace}; bind a role that may")
    return f"{name}; {who} may create it in {site.pods.namespace}"


def check_secrets(site: Site) -> str:
    """Raises UserError naming each secret or key that is missing; values are not looked at."""
    wanted = [(site.namespace, name, set(keys)) for name, keys in site.recipe.cluster.secrets.items()]
    if site.pods:
        wanted += [(site.pods.namespace, name, set()) for name in site.pods.secret_env]
    problems = []
    for namespace, name, keys in wanted:
        found = site.kubernetes.secret_keys(namespace, name)
        if found is None:
            problems.append(f"no secret {name} in namespace {namespace}; create it")
        elif missing := sorted(keys - found):
            problems.append(f"secret {name} in namespace {namespace} lacks {', '.join(missing)}; add it")
    if problems:
        raise UserError("\n".join(problems))
    return ", ".join(name for _, name, _ in wanted) or "the recipe names none"


def check_claims(site: Site) -> str:
    """Raises UserError when a claim is missing, or can't be mounted by several nodes and there are several."""
    wanted = {(site.namespace, name) for name in site.recipe.cluster.volume_claims.values()}
    if site.pods:
        wanted |= {(site.pods.namespace, name) for name in site.pods.volume_claims.values()}
    problems = []
    for namespace, name in sorted(wanted):
        access = site.kubernetes.claim_access(namespace, name)
        if access is None:
            problems.append(f"no volume claim {name} in namespace {namespace}; create it")
        elif SHARED not in access and len(site.kubernetes.nodes({})) > 1:
            modes = ", ".join(sorted(access))
            problems.append(f"volume claim {name} in namespace {namespace} is {modes}; steps and ranks need {SHARED}")
    if problems:
        raise UserError("\n".join(problems))
    return ", ".join(name for _, name in sorted(wanted)) or "the recipe names none"


def check_accounts(site: Site) -> str:
    """Raises UserError naming each service account that is missing."""
    wanted = [(site.namespace, site.recipe.cluster.kubeflow.service_account)]
    if site.pods:
        wanted.append((site.pods.namespace, site.pods.service_account))
    named = [(namespace, name) for namespace, name in wanted if name]
    missing = [pair for pair in named if not site.kubernetes.has_account(*pair)]
    if missing:
        raise UserError(
            "\n".join(f"no service account {name} in namespace {namespace}; create it" for namespace, name in missing)
        )
    if not named:
        raise DoubtError("the recipe names none: the steps run as KFP's own, which must be allowed to create jobs")
    return ", ".join(name for _, name in named)
