"""Tables of what goes wrong with jobs on a cluster: how it shows, what it means, what to do.

Sources: Kubernetes' "Disruptions", "Images" and "Pod Lifecycle" pages; NVIDIA's Xid catalog and NCCL user guide;
messages as torch 2.13 and training-operator 1.9 word them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Symptom:
    """`pattern` is looked for in a text; `cause` may refer to its groups as {0}, {1}."""

    pattern: str
    cause: str
    remedy: str


RESUME = "Run again: it goes on from the last checkpoint."

LOG = (
    Symptom(
        r"(?:OutOfMemoryError|CUDA out of memory)",
        "a GPU ran out of memory",
        "Lower micro_batch_size, set recompute, or split the model further; `meditron plan` says what fits.",
    ),
    Symptom(
        r"\bXid\b\D{0,60}?(\d+)|(uncorrectable ECC|NVLink) error",
        "the GPU driver reported a hardware error ({0})",
        f"Cordon the node and have its GPU checked. {RESUME}",
    ),
    Symptom(
        r"ibv_(?:reg_mr|create_cq|create_qp)\w*[^\n]*Cannot allocate memory",
        "RDMA could not pin memory",
        "Let containers lock memory without limit (LimitMEMLOCK=infinity of the container runtime on the nodes): "
        "for a user other than root the capability IPC_LOCK has no effect.",
    ),
    Symptom(
        r"No space left on device[^\n]*/dev/shm|/dev/shm[^\n]*No space left|insufficient shared memory",
        "/dev/shm is full",
        "Raise launcher.pytorchjob.shm_size.",
    ),
    Symptom(r"No space left on device", "a volume is full", "Make room in the workspace or its volume claim."),
    Symptom(
        r"(?:ModuleNotFoundError|ImportError): ([^\n]+)",
        "the image lacks what the job imports ({0})",
        "Build launcher.pytorchjob.image from the version of the project that starts the job.",
    ),
    Symptom(
        r"collective operation timeout|Timed out waiting \d+ms for (?:send|recv)",
        "a collective operation timed out: some rank hung or came late",
        "Compare the last lines of all ranks; if all wait in the same operation, measure the network "
        "(launcher.min_bus_bandwidth_gb_per_second).",
    ),
    Symptom(
        r"RendezvousTimeout|DistStoreError|waiting for clients|client socket has timed out|wait timeout after \d+ms",
        "the ranks did not find one another",
        "See that all pods ran at once (gang_scheduling or queue) and that no network policy stands between them.",
    ),
    Symptom(
        r"NCCL WARN ([^\n]+)|nccl(?:SystemError|RemoteError|InternalError|UnhandledCudaError)|NCCL error",
        "NCCL failed",
        "Check the network of the pods: NCCL_SOCKET_IFNAME, NCCL_IB_HCA and NCCL_IB_GID_INDEX in "
        "launcher.pytorchjob.env, and the RDMA resource; NCCL_DEBUG: INFO says more.",
    ),
    Symptom(
        r"(?:Connection (?:closed|reset) by peer|Broken pipe)",
        "the connection to another rank broke",
        "The other rank or its node went away; its pod's events may say why.",
    ),
)

EXIT_CODE = {
    126: ("the command can't be executed", "Check launcher.pytorchjob.image."),
    127: ("the command is not in the image", "Check launcher.pytorchjob.image."),
    134: ("it aborted (SIGABRT)", "The last lines of its log say why; NCCL's watchdog ends a hung rank so."),
    135: ("it accessed memory that could not be had (SIGBUS)", "Raise launcher.pytorchjob.shm_size."),
    137: (
        "it was killed (SIGKILL), most likely for want of memory",
        "Raise memory in launcher.pytorchjob.resources, or lower what a rank holds.",
    ),
    139: ("it crashed (SIGSEGV)", f"Suspect a library or the GPU. {RESUME}"),
    143: ("it was told to end (SIGTERM)", RESUME),
}

OUT_OF_MEMORY = (
    "its container used more memory than it may",
    "Raise memory in launcher.pytorchjob.resources (/dev/shm counts, too), or lower what a rank holds.",
)

DISRUPTION = {
    "PreemptionByScheduler": (
        "a pod of higher priority took its place",
        f"{RESUME} launcher.pytorchjob.priority_class keeps it from happening again.",
    ),
    "DeletionByTaintManager": ("its node became unusable", RESUME),
    "DeletionByPodGC": ("its node is gone", RESUME),
    "EvictionByEvictionAPI": ("it was evicted, as when a node is drained", RESUME),
    "TerminationByKubelet": ("its node ended it, short of resources or shutting down", RESUME),
}

POD_REASON = {
    "Evicted": (
        "its node evicted it, short of resources",
        "Ask for what it uses in launcher.pytorchjob.resources, ephemeral-storage included.",
    ),
    "NodeLost": ("its node is gone", RESUME),
    "NodeShutdown": ("its node shut down", RESUME),
    "Shutdown": ("its node shut down", RESUME),
    "UnexpectedAdmissionError": ("its node could not give it the devices it was promised", RESUME),
}

# Why a container does not start. These don't pass by themselves, but for a registry or a secret that comes late.
WAITING = {
    "ErrImagePull": ("its image can't be pulled", "Check launcher.pytorchjob.image and the pull secrets."),
    "ImagePullBackOff": ("its image can't be pulled", "Check launcher.pytorchjob.image and the pull secrets."),
    "ErrImageNeverPull": ("its image is not on the node", "Check launcher.pytorchjob.image and its pull policy."),
    "InvalidImageName": ("its image has no valid name", "Correct launcher.pytorchjob.image."),
    "CreateContainerConfigError": (
        "its container can't be configured",
        "Check that the secrets in launcher.pytorchjob.secret_env exist, and that the image has a numeric user.",
    ),
    "CreateContainerError": ("its container can't be created", "Check launcher.pytorchjob.image and volume_claims."),
    "RunContainerError": ("its container can't be started", "Check launcher.pytorchjob.image and volume_claims."),
    "CrashLoopBackOff": ("its container ends again and again", "Look at its log with `kubectl logs --previous`."),
}

UNSCHEDULABLE = (
    Symptom(
        r"persistentvolumeclaim \"?([^\s\"]+)\"? not found",
        "volume claim {0} does not exist",
        "Create it, or correct launcher.pytorchjob.volume_claims.",
    ),
    Symptom(
        r"Insufficient ([\w./-]*\w)",
        "no node has enough free {0}",
        "Wait for other jobs, or ask for less in launcher.pytorchjob.",
    ),
    Symptom(
        r"didn't match Pod's node affinity/selector",
        "no node has the labels of launcher.pytorchjob.node_selector",
        "Compare it with `kubectl get nodes --show-labels`.",
    ),
    Symptom(
        r"untolerated taint",
        "the nodes have taints that the pods don't tolerate",
        "Add them to launcher.pytorchjob.tolerations.",
    ),
    Symptom(
        r"topology spread constraints",
        "there are fewer free nodes than pods",
        "Wait for other jobs, or use a layout of fewer nodes.",
    ),
)

EVENT = (
    Symptom(
        r"exceeded quota: ([^,\s]+)",
        "the quota {0} of the namespace is used up",
        "Wait for other jobs, or have the quota raised.",
    ),
    Symptom(
        r"violates PodSecurity \"([^\"]+)\"",
        "the namespace forbids such pods (PodSecurity {0})",
        "RDMA's IPC_LOCK needs the level privileged; leave out rdma_resource, or label the namespace so.",
    ),
    Symptom(
        r"serviceaccount \"([^\"]+)\" not found|no PriorityClass with name (\S+)",
        "{0} does not exist",
        "Create it, or correct launcher.pytorchjob.service_account or priority_class.",
    ),
)

JOB = (
    Symptom(
        r"active longer than|DeadlineExceeded",
        "it was active longer than its deadline",
        f"Raise launcher.timeout_seconds or pytorchjob.pending_timeout_seconds. {RESUME}",
    ),
    Symptom(
        r"[Bb]ackoff ?[Ll]imit",
        "its pods failed more often than launcher.pytorchjob.backoff_limit allows",
        "The log above tells how they ended.",
    ),
    Symptom(
        r"TrainingRuntimeNotSupported",
        "its training runtime is not there",
        "Check launcher.trainjob.runtime and runtime_kind.",
    ),
)


def find(symptoms: tuple[Symptom, ...], text: str) -> tuple[str, str] | None:
    """(cause, remedy) of the first symptom in the order of the table that the text shows."""
    for symptom in symptoms:
        if (match := re.search(symptom.pattern, text)) is not None:
            groups = [group for group in match.groups() if group]
            return symptom.cause.format(*groups or [match.group()]), symptom.remedy
    return None
