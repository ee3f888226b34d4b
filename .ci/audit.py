"""Looks the versions in constraints.txt up among known vulnerabilities with pip-audit, and says so where it can't.

pip-audit itself passes over what its service doesn't know, so without the service it would find nothing and be content.
"""

import json
import subprocess
import sys
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"


def main() -> int:
    """The exit status: 1 when something is known of a version that is used, or pip-audit failed."""
    options = ["--no-deps", "--disable-pip", "--format=json", "--progress-spinner=off", "--requirement"]
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", *options, str(CONSTRAINTS)], stdout=subprocess.PIPE, text=True
    )
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print("audit: pip-audit ended without a result; nothing was checked", file=sys.stderr)
        return 1
    checked = [package for package in found if "skip_reason" not in package]
    for package in checked:
        for known in package["vulns"]:
            fixed = ", ".join(known["fix_versions"]) or "none"
            print(f"{package['name']} {package['version']}: {known['id']}; fixed in: {fixed}")
    if not checked:
        print("audit: the vulnerability service knows none of the packages or can't be reached; nothing was checked")
    else:
        print(f"audit: {len(checked)} of {len(found)} packages were checked")
    return int(any(package["vulns"] for package in checked))


if __name__ == "__main__":
    sys.exit(main())
