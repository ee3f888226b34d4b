"""What is to be run on many ranks, and the ways in which it can end other than well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from components.platform.errors import UserError

INTERRUPTED_EXIT_CODE = 75
"""A rank that was told to stop and has saved a checkpoint leaves with `sys.exit(75)` (EX_TEMPFAIL: try again)."""


@dataclass(frozen=True)
class JobSpec:
    """One distributed job: `python -m module args` on `nnodes * nproc_per_node` ranks.

    Attributes:
        name: short and human-readable, such as "pretrain"; part of the job's name on a cluster.
        module: importable module that runs when it is `__main__`.
        args: its command line.
        nproc_per_node: ranks on each node.
        nnodes: nodes.
        env: variables that the ranks see besides the inherited ones.
    """

    name: str
    module: str
    args: tuple[str, ...]
    nproc_per_node: int
    nnodes: int = 1
    env: Mapping[str, str] = field(default_factory=dict)


class LaunchError(UserError):
    """The job did not finish; the message names the first failing rank and ends with the tail of its traceback."""


class LaunchInterrupted(LaunchError):  # noqa: N818 - the job did nothing wrong
    """The job was told to stop and saved a checkpoint first: starting it again goes on from there."""
