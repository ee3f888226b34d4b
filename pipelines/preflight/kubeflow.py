"""Is the KFP server there, and new enough?"""

from __future__ import annotations

import re

from components.platform.errors import UserError
from pipelines.preflight.site import DoubtError, Site

OLDEST = (2, 16)  # the first that takes what kfp-kubernetes 2.17 writes for secrets, claims and pod labels


def check_kfp(site: Site) -> str:
    """Raises:
    UserError: it can't be reached, refuses us, or is too old.
    DoubtError: it does not tell its version.
    """
    text = site.kfp.version()
    site.kfp.latest_runs(1)  # its health is told to anyone; this needs our credentials
    number = re.match(r"v?(\d+)\.(\d+)", text)
    if number is None:
        raise DoubtError(
            f"the server does not tell its version ({text!r}); it must be {OLDEST[0]}.{OLDEST[1]} or later"
        )
    if tuple(map(int, number.groups())) < OLDEST:
        raise UserError(f"KFP {text} is too old; upgrade the server to {OLDEST[0]}.{OLDEST[1]} or later")
    mode = f"multi-user, namespace {site.kfp.namespace}" if site.kfp.namespace else "single-user"
    return f"KFP {text}, {mode}"
