"""The builds that are compared, each a command that reads JSONL and leaves Megatron token files in a folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks.corpus.data import TextFile
from benchmarks.corpus.measure import ONE_THREAD, Usage, measured
from components.platform.indexed import IndexedDataset

HERE = Path(__file__).parent
PEERS = HERE.parent / ".venv-peers"
REQUIREMENTS = HERE.parent / "peers-requirements.txt"


def recipe(data: Path, workspace: Path, pattern: str) -> dict[str, Any]:
    """Our build as a recipe: one source in English, near duplicates as by default, one worker."""
    return {
        "platform": {
            "data": str(data),
            "workspace": str(workspace),
            "workers": 1,
            "tracking": {"uri": f"sqlite:///{workspace}/mlflow.db"},
        },
        "corpus": {
            "min_characters": 100,
            "languages": ["en"],
            "tokenizer": {"path": "tokenizer"},
            "sources": [{"name": "text", "group": "papers", "format": "redpajama", "paths": [pattern]}],
        },
    }


@dataclass(frozen=True)
class Job:
    """What a build is to do: files of `texts` that match `pattern`, tokens with `tokenizer`, results below `out`."""

    texts: Path
    pattern: str
    tokenizer: Path
    out: Path


@dataclass(frozen=True)
class Build:
    """One of the programs that are compared.

    Attributes:
        note: for the table.
        command: what to run for a job.
        token_files: glob of the Megatron files it leaves, below the job's `out`.
        slow: measured on a smaller slice of text.
    """

    name: str
    note: str
    command: Callable[[Job], list[str]]
    token_files: str = "tokens/*.idx"
    slow: bool = False


@dataclass(frozen=True)
class Measurement:
    """One build of some files. `profile` is what the build says of its own steps: {step: {cpu_seconds, megabytes}}."""

    build: Build
    megabytes: float
    documents: int
    copies: int
    documents_out: int
    tokens: int
    usage: Usage
    profile: dict[str, dict[str, float]] = field(default_factory=dict)


def _ours(job: Job) -> list[str]:
    path = job.out / "recipe.yaml"
    content = recipe(job.texts.parent, job.out / "runs", f"{job.texts.name}/{job.pattern}")
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return [sys.executable, "-m", "components.corpus", "--recipe", str(path)]


def _peer(script: str) -> Callable[[Job], list[str]]:
    def command(job: Job) -> list[str]:
        places = {"--texts": job.texts, "--pattern": job.pattern, "--tokenizer": job.tokenizer, "--out": job.out}
        options = [str(word) for option in places.items() for word in option]
        return [str(PEERS / "bin" / "python"), str(HERE / "peers" / script), *options]

    return command


BUILDS = (
    Build(
        "this project",
        "`python -m components.corpus`: language id, cleaning, contact scrub, duplicates by text and MinHash 14 × 8",
        _ours,
        token_files="runs/corpus/*/tokens/**/*.idx",
    ),
    Build(
        "HF datasets + rensa",
        "length filter, MinHash 14 × 8 on five words; no language id, no cleaning",
        _peer("datasets_build.py"),
    ),
    Build(
        "datatrove",
        "Gopher quality filter, MinHash 14 × 8 on five words; no language id, no cleaning",
        _peer("datatrove_build.py"),
        slow=True,
    ),
)


def measure(build: Build, files: list[TextFile], pattern: str, tokenizer: Path, out: Path) -> Measurement:
    """Run a build from scratch.

    Args:
        files: what was made in the folder that is read.
        pattern: the names of those of them that are to be read, as a glob.

    Raises:
        RuntimeError: it failed, or wrote no tokens.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    job = Job(files[0].path.parent, pattern, tokenizer, out)
    read = [file for file in files if file.path.match(pattern)]
    # A recipe's data root gives way to this variable; the caller's is that of the real files
    environment = {**ONE_THREAD, "MEDITRON_DATA": str(job.texts.parent), "HF_HUB_OFFLINE": "1"}
    usage = measured(build.command(job), out / "log.txt", environment)
    lengths = [IndexedDataset(path.with_suffix("")).lengths for path in out.glob(build.token_files)]
    documents_out, tokens = sum(map(len, lengths)), int(sum(part.sum() for part in lengths))
    if not tokens:
        raise RuntimeError(f"{build.name}: no tokens in {out}")
    profiles = [json.loads(path.read_text(encoding="utf-8")) for path in out.glob("runs/corpus/*/profile.json")]
    return Measurement(
        build,
        sum(file.bytes for file in read) / 1e6,
        sum(file.documents for file in read),
        sum(file.exact_copies + file.near_copies for file in read),
        documents_out,
        tokens,
        usage,
        profiles[0] if profiles else {},
    )


def make_peers_environment() -> None:
    """Install the peers from the package index, unless that is done for these very versions."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    ready = PEERS / ".ready"
    if ready.exists() and ready.read_text(encoding="utf-8") == wanted:
        return
    shutil.rmtree(PEERS, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
    pip = [str(PEERS / "bin" / "pip"), "install", "-qq", "--requirement", str(REQUIREMENTS)]
    subprocess.run(pip, check=True, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    ready.write_text(wanted, encoding="utf-8")
