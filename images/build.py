"""Builds the project's images with Docker, says how large they are, and notes down their digests once pushed.

`make images` runs it; by itself it needs nothing but Python and Docker: `python images/build.py --help`.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import http.server
import os
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "images.lock"
# Where pip looks; its other settings are the host's own business.
PIP_KEYS = ("index-url", "extra-index-url", "find-links", "trusted-host", "cert")


@dataclass(frozen=True)
class Image:
    """An image: its folder below `images`, the extra of pyproject.toml it carries, Debian packages beside Python.

    `default` images are those that `make images` builds when none is named.
    """

    folder: str
    extra: str = ""
    packages: str = ""
    default: bool = True


IMAGES = {
    "pipeline": Image("step", extra="corpus"),
    # On GPUs Triton compiles its launchers when training starts (torch.compile, flex attention), with the C compiler
    # and Python's headers; Inductor compiles what is left on the CPU, in C++.
    "train": Image("step", extra="train", packages="g++ libpython3.11-dev"),
    "quantize": Image("step", extra="quantize"),
    "evaluate": Image("step", extra="evaluate"),
    "serve": Image("step", extra="serve"),
    "mlflow": Image("mlflow"),
    "vllm": Image("vllm", packages="gcc libc6-dev libpython3.11-dev", default=False),
}


def main() -> None:
    arguments = _parser().parse_args()
    names = arguments.images or [name for name, image in IMAGES.items() if image.default]
    built = []
    with pip_secrets() as secrets:
        for name in names:
            tag = f"{arguments.repository}/{name}:{arguments.tag}"
            started = time.monotonic()
            build(arguments, name, tag, secrets)
            built.append((tag, time.monotonic() - started))
    print(f"\n{'image':<40} {'MB':>6} {'seconds':>8}  id")
    for tag, seconds in built:
        size = int(inspect(arguments.docker, tag, "{{.Size}}")) / 1e6
        print(f"{tag:<40} {size:>6.0f} {seconds:>8.0f}  {inspect(arguments.docker, tag, '{{.Id}}')}")
    if arguments.push:
        note_digests(arguments.lock, {tag: push(arguments.docker, tag) for tag, _ in built})
        print(f"wrote {arguments.lock}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", metavar="IMAGE", choices=[[], *IMAGES], help=", ".join(IMAGES))
    parser.add_argument("--base", help="base image (default: the Dockerfiles': python:3.11-slim-bookworm)")
    parser.add_argument("--repository", default="meditron", help="what stands before the names (default: meditron)")
    parser.add_argument("--tag", default=project_version(), help="(default: the project's version)")
    parser.add_argument("--packages", help="Debian packages instead of those listed here; '' for a base that has them")
    parser.add_argument("--push", action="store_true", help="push, and write the digests to the lock file")
    parser.add_argument("--lock", type=Path, default=LOCK, metavar="FILE", help=f"(default: {LOCK.name} here)")
    parser.add_argument("--docker", default=find_docker(), help="(default: the first on PATH that has BuildKit)")
    return parser


def find_docker() -> str:
    """The first docker command on PATH that can hand secrets to a build; the newer ones need a plugin for that."""
    for folder in os.get_exec_path():
        docker = Path(folder, "docker")
        if (
            docker.is_file()
            and b"--secret"
            in subprocess.run(
                [docker, "build", "--help"], env=os.environ | {"DOCKER_BUILDKIT": "1"}, capture_output=True
            ).stdout
        ):
            return str(docker)
    return "docker"


def build(arguments: argparse.Namespace, name: str, tag: str, secrets: dict[str, Path]) -> None:
    image = IMAGES[name]
    values = {
        "BASE_IMAGE": arguments.base,
        "EXTRA": image.extra,
        "PACKAGES": image.packages if arguments.packages is None else arguments.packages,
        "NAME": name,
        "VERSION": project_version(),
        "REVISION": revision(),
    }
    command = [arguments.docker, "build", "--file", str(ROOT / "images" / image.folder / "Dockerfile"), "--tag", tag]
    for key, value in values.items():
        command += ["--build-arg", f"{key}={value}"] if value else []
    for key, path in secrets.items():
        command += ["--secret", f"id={key},src={path}"]
    # The host's network: its mirrors may be reachable from nowhere else, on loopback even.
    subprocess.run([*command, "--network", "host", str(ROOT)], check=True, env=os.environ | {"DOCKER_BUILDKIT": "1"})


def push(docker: str, tag: str) -> str:
    """Push an image; its digest in that registry."""
    subprocess.run([docker, "push", "--quiet", tag], check=True)
    repository = tag.rsplit(":", 1)[0]
    digests = inspect(docker, tag, "{{range .RepoDigests}}{{println .}}{{end}}").split()
    return next(digest for digest in digests if digest.startswith(f"{repository}@")).split("@")[1]


def note_digests(lock: Path, digests: dict[str, str]) -> None:
    """Write digests by image into the lock file; its lines of other images stay."""
    lines = lock.read_text().splitlines() if lock.exists() else []
    others = [line for line in lines if line.rpartition(": ")[0] not in digests]
    lock.write_text("".join(f"{line}\n" for line in [*others, *map(": ".join, digests.items())]))


def inspect(docker: str, tag: str, template: str) -> str:
    command = [docker, "image", "inspect", "--format", template, tag]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def project_version() -> str:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def revision() -> str:
    """The git commit that is built, marked if files differ from it; nothing where there is no git."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return ""


@contextlib.contextmanager
def pip_secrets() -> Iterator[dict[str, Path]]:
    """The host's pip settings as files that a build sees but an image doesn't keep.

    Folders of wheels are served on loopback meanwhile.
    """
    settings = host_pip_settings()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="meditron-images-")))
        secrets = {"pip.conf": folder / "pip.conf"}
        if certificates := settings.pop("cert", None):
            secrets["ca.crt"] = Path(certificates)
            settings["cert"] = "/run/secrets/ca.crt"
        if links := settings.pop("find-links", None):
            served = [stack.enter_context(_served(link)) if Path(link).is_dir() else link for link in links.split()]
            settings["find-links"] = " ".join(served)
        lines = ["[global]", *(f"{key} = {value}" for key, value in settings.items())]
        secrets["pip.conf"].write_text("\n".join(lines) + "\n")
        yield secrets


def host_pip_settings() -> dict[str, str]:
    """Where the host's pip looks for packages. Folders of whole indexes (file://) can't be reached from a build."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True)
    if listed.returncode:
        print(f"warning: {sys.executable} has no pip, so the builds get no settings of pip", file=sys.stderr)
    settings = {}
    for (
        line
    ) in listed.stdout.splitlines():  # such as global.index-url='https://...'; those from the environment come last
        name, _, value = line.partition("=")
        key = name.rsplit(".", 1)[-1]
        if key in PIP_KEYS:
            settings[key] = " ".join(word for word in ast.literal_eval(value).split() if not word.startswith("file://"))
    return {key: value for key, value in settings.items() if value}


@contextlib.contextmanager
def _served(folder: str) -> Iterator[str]:
    """The address of a folder on loopback."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


if __name__ == "__main__":
    main()
