"""The docker command as the tests use it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

# What a pod gets in a namespace of the restricted standard: any user, nothing to write to but /tmp, no privileges.
LIKE_A_POD = (
    "--user=54321:54321",
    "--read-only",
    "--tmpfs=/tmp:exec",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
)


@dataclass(frozen=True)
class Docker:
    """The docker command, with a daemon behind it."""

    command: str

    def __call__(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run([self.command, *arguments], capture_output=True, text=True)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def in_pod(self, image: str, *command: str, network: str = "none") -> str:
        return self("run", "--rm", f"--network={network}", *LIKE_A_POD, image, *command)

    @property
    def answers(self) -> bool:
        return subprocess.run([self.command, "info"], capture_output=True).returncode == 0
