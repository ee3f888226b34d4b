"""The images as such: who they run as, what is in them and what is not, and that they need nothing but /tmp."""

from __future__ import annotations

import re

import pytest

from images import build
from tests.images.docker import Docker

pytestmark = [pytest.mark.slow, pytest.mark.docker, pytest.mark.timeout(3600)]  # the first one builds them all
BUILT = [name for name, image in build.IMAGES.items() if image.default]
STEPS = [name for name in BUILT if build.IMAGES[name].folder == "step"]

# Modules of each image's stage, and the large libraries that are in it.
STAGE = {
    "pipeline": "components.corpus.stage, components.registry.stage, components.platform.launcher.cluster_job",
    "train": "components.training.stage, components.training.engine.engine",
    "quantize": "components.quantization.stage, components.quantization.awq",
    "evaluate": "components.evaluation.stage, components.evaluation.engine.huggingface",
    "serve": "components.serving.server.app, components.serving.server.backend",
}
LARGE = {"deepspeed", "llmcompressor", "polars", "datasets", "torch", "transformers", "pytest", "pip"}
HOLDS = {
    "pipeline": {"datasets", "polars"},
    "train": {"deepspeed", "torch"},
    "quantize": {"datasets", "llmcompressor", "polars", "torch", "transformers"},
    "evaluate": {"torch", "transformers"},
    "serve": {"torch", "transformers"},
    "mlflow": set(),
}
# Without the base image, in megabytes: measured (docs/images.md), and a tenth more. Torch here is the CPU build.
LARGEST = {"pipeline": 1010, "train": 1980, "quantize": 1900, "evaluate": 1620, "serve": 1640, "mlflow": 810}


def python(docker: Docker, image: str, code: str) -> str:
    return docker.in_pod(image, "python", "-c", code)


@pytest.mark.parametrize("name", BUILT)
def test_runs_as_a_numbered_user_who_is_not_root(docker, images, name):
    user = docker("image", "inspect", "--format", "{{.Config.User}}", images[name])
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "Kubernetes can't tell for a name that it is not root's"


@pytest.mark.parametrize("name", BUILT)
def test_labels_say_what_it_was_built_from(docker, images, name):
    def label(key: str) -> str:
        return docker("image", "inspect", "--format", f'{{{{index .Config.Labels "{key}"}}}}', images[name])

    assert label("org.opencontainers.image.title") == f"meditron/{name}"
    assert label("org.opencontainers.image.version") == build.project_version()
    assert label("org.opencontainers.image.revision") == build.revision()


@pytest.mark.parametrize("name", BUILT)
def test_holds_its_libraries_and_no_others(docker, images, name):
    code = f"from importlib.util import find_spec; print(*(m for m in {sorted(LARGE)} if find_spec(m)))"
    assert set(python(docker, images[name], code).split()) == HOLDS[name]


@pytest.mark.parametrize("name", BUILT)
def test_only_training_has_a_compiler(docker, images, name):
    found = docker.in_pod(images[name], "sh", "-c", "command -v gcc g++ cc; true")
    assert bool(found) == (name == "train")


@pytest.mark.parametrize("name", BUILT)
def test_is_no_larger_than_it_was(docker, images, base, name):
    size, below = (int(docker("image", "inspect", "--format", "{{.Size}}", image)) for image in (images[name], base))
    assert (size - below) / 1e6 < LARGEST[name]


@pytest.mark.parametrize("name", BUILT)
def test_keeps_nothing_of_the_pip_settings_of_the_host(docker, images, name):
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", images[name])
    assert "127.0.0.1" not in history
    assert docker("run", "--rm", "--user=0", images[name], "find", "/opt", "/etc", "/root", "-name", "pip.conf") == ""
    assert docker("run", "--rm", "--user=0", images[name], "sh", "-c", "ls /run/secrets 2>/dev/null; true") == ""


@pytest.mark.parametrize("name", STEPS)
def test_imports_its_stage_in_a_pod_of_any_user(docker, images, name):
    python(docker, images[name], f"import kfp.dsl.executor_main, components.platform.step, {STAGE[name]}")


@pytest.mark.parametrize("name", STEPS)
def test_starts_from_compiled_modules(docker, images, name):
    """A step's start takes three times the CPU time without them, and a pod can't write them."""
    code = (
        "import importlib.util, sys, pathlib, kfp.dsl.executor, components.platform.step\n"
        "files = [m.__file__ for m in sys.modules.values() if (getattr(m, '__file__', None) or '').endswith('.py')]\n"
        "ours = [f for f in files if f.startswith('/opt/')]\n"
        "def fresh(f):\n"
        "    pyc, stat = pathlib.Path(importlib.util.cache_from_source(f)), pathlib.Path(f).stat()\n"
        "    return pyc.exists() and pyc.read_bytes()[8:12] == int(stat.st_mtime).to_bytes(4, 'little')\n"
        "print(len(ours), *(f for f in ours if not fresh(f)))"
    )
    count, *stale = python(docker, images[name], code).split()
    assert int(count) > 100
    assert stale == []


def test_training_compiles_what_it_is_told_to(docker, images):
    code = "import torch; print(torch.compile(lambda x: torch.sin(x) * 2 + 1)(torch.zeros(8)).sum().item())"
    assert python(docker, images["train"], code) == "8.0"
