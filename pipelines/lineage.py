"""`meditron lineage`: from a registered version back to every file that it was made from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from components.platform.base_model import METADATA, BaseModel
from components.platform.errors import InputError, UserError
from components.platform.tracking.manifests import recorded_manifest
from components.platform.tracking.models import ModelRegistry, RegisteredVersion
from components.platform.tracking.submissions import (
    COMMIT_TAG,
    IMAGE_TAGS,
    PIPELINE_RUN_TAG,
    RECIPE_TAG,
    read_submission,
)
from components.platform.tracking.tags import CODE_TAG
from components.registry.lineage import DIGEST, Artifact, File, trace
from components.registry.verify import Verification, verify
from pipelines.submission import Submission

EVALUATION = "evaluation"
SHOWN_DIGITS = 12
LONGEST_LINE = 10_000  # addresses and digests are for copying: the terminal may fold them, but nothing is cut


@dataclass(frozen=True)
class Lineage:
    """A version and all that is behind it.

    Attributes:
        uri: of the MLflow that knows it.
        artifacts: by digest.
    """

    uri: str
    version: RegisteredVersion
    artifacts: dict[str, Artifact]

    @classmethod
    def of(cls, uri: str, model: str) -> Lineage:
        """The lineage of NAME@ALIAS or NAME/VERSION.

        Raises:
            InputError: MLflow has no such version.
        """
        version = find_version(ModelRegistry(uri), model)
        return cls(uri, version, trace(version.tags, lambda digest: recorded_manifest(uri, version.run_id, digest)))

    def role(self, role: str) -> Artifact | None:
        return self.artifacts.get(self.version.tags.get(role + DIGEST, ""))

    @property
    def rerun(self) -> str | None:
        """The command that repeats the run; None of a version that no pipeline made."""
        run_id = self.version.tags.get(PIPELINE_RUN_TAG)
        return run_id and f"meditron rerun --mlflow-run {run_id} --tracking-uri {self.uri}"

    def verified(self, data: str | None) -> Verification:
        """Compare everything with what is there now.

        Args:
            data: root of the source files; None: as the run had it.

        Raises:
            InputError: MLflow has no record of where the data was.
        """
        if data is None:
            data = Submission.from_json(read_submission(self.uri, self.version.run_id)).data
        return verify(self.artifacts, data)

    def as_json(self) -> dict[str, Any]:
        return {
            "model": self.version.name,
            "version": self.version.version,
            "aliases": list(self.version.aliases),
            "tags": self.version.tags,
            "rerun": self.rerun,
            "artifacts": [_plain(artifact) for artifact in self.artifacts.values()],
        }


def find_version(registry: ModelRegistry, model: str) -> RegisteredVersion:
    """The version that NAME@ALIAS or NAME/VERSION means.

    Raises:
        InputError: it is written otherwise, or MLflow has no such version.
    """
    name, at, alias = model.rpartition("@")
    if at:
        found = registry.find(name, alias)
        if found is None:
            raise InputError(f"MLflow at {registry.uri}: no version of model {name} has the alias {alias}")
        return found
    name, slash, number = model.rpartition("/")
    if not slash or not number.isdecimal():
        raise InputError(f"{model}: expected NAME@ALIAS or NAME/VERSION, such as meditron-7b@champion")
    return registry.get(name, number)


def show_lineage(uri: str, model: str, files: bool, check: bool, data: str | None, as_json: bool) -> None:
    """Print the lineage.

    Args:
        files: list every file and part, instead of counting them.
        check: compare everything with what is there now, below the data root `data`.

    Raises:
        InputError: MLflow has no such version.
        UserError: something is gone or changed.
    """
    lineage = Lineage.of(uri, model)
    verification = lineage.verified(data) if check else None
    if as_json:
        record = lineage.as_json() | ({"verification": asdict(verification)} if verification else {})
        print(json.dumps(record, indent=1))
    else:
        Console(highlight=False, width=LONGEST_LINE).print(tree(lineage, files))
    if verification is None:
        return
    if verification.problems:
        raise UserError("gone or changed:\n  " + "\n  ".join(verification.problems))
    if not as_json:
        print(
            f"All is as it was: {verification.artifacts} artifacts, {verification.files} source files"
            + (f" ({verification.unchecked} on a hub not looked at)." if verification.unchecked else ".")
        )


def tree(lineage: Lineage, files: bool) -> Tree:
    version = lineage.version
    aliases = f"  ({', '.join(version.aliases)})" if version.aliases else ""
    top = Tree(escape(f"{version.name} version {version.version}{aliases}"))
    shown: set[str] = set()
    if quantized := lineage.role("quantized"):
        _grow(top, quantized, lineage.artifacts, shown, files)
    for artifact in lineage.artifacts.values():
        if artifact.digest not in shown and artifact.manifest and artifact.manifest.kind == EVALUATION:
            _evaluation(top, artifact, files)
    made = top.add("made by")
    for name, value in _circumstances(version.tags).items():
        made.add(escape(f"{name}  {value}"))
    if lineage.rerun:
        top.add(escape(f"repeat  {lineage.rerun}"))
    return top


def _grow(
    branch: Tree, artifact: Artifact, artifacts: Mapping[str, Artifact], shown: set[str], list_files: bool
) -> None:
    if artifact.digest in shown:
        branch.add(escape(f"{artifact.role}  {artifact.digest[:SHOWN_DIGITS]}  (above)"))
        return
    shown.add(artifact.digest)
    branch = branch.add(escape(_title(artifact)))
    inputs = [artifacts[digest] for digest in artifact.inputs.values()]
    for one in sorted(inputs, key=lambda one: bool(one.manifest and one.manifest.kind == "corpus")):
        _grow(branch, one, artifacts, shown, list_files)
    if base := _base(artifact, inputs):
        branch.add(escape(f"base model  {base.name}  {base.digest[:SHOWN_DIGITS]}"))
    _parts(branch, artifact, list_files)
    _sources(branch, artifact, list_files)


def _evaluation(branch: Tree, artifact: Artifact, list_files: bool) -> None:
    branch = branch.add(escape(_title(artifact)))
    for name, value in artifact.manifest.numbers.items():
        if name.endswith("/accuracy"):
            branch.add(escape(f"{name.removesuffix('/accuracy')}  {value:.3f}"))
    _sources(branch, artifact, list_files)


def _title(artifact: Artifact) -> str:
    place = artifact.place if artifact.found == "place" else f"gone: {artifact.problem}"
    kept = "  (from MLflow's copy of its manifest)" if artifact.found == "mlflow" else ""
    return f"{artifact.role}  {artifact.digest[:SHOWN_DIGITS]}  code {artifact.code or 'unknown'}  {place}{kept}"


def _base(artifact: Artifact, inputs: list[Artifact]) -> BaseModel | None:
    """What a model was trained from that no stage made."""
    if artifact.manifest is None or METADATA not in artifact.manifest.metadata:
        return None
    from_model = any(one.manifest and one.manifest.kind == artifact.manifest.kind for one in inputs)
    return None if from_model else BaseModel.of(artifact.manifest)


def _parts(branch: Tree, artifact: Artifact, list_files: bool) -> None:
    if not artifact.parts:
        return
    kinds = Counter(role.partition("/")[0] for role in artifact.parts)
    branch = branch.add(escape("put together from " + ", ".join(f"{count} × {kind}" for kind, count in kinds.items())))
    if list_files:
        for role, (digest, place) in artifact.parts.items():
            branch.add(escape(f"{role}  {digest}  {place or ''}"))


def _sources(branch: Tree, artifact: Artifact, list_files: bool) -> None:
    for source, files in artifact.sources.items():
        if not files:  # of a retraining: nothing of it was new
            continue
        size = sum(file.bytes or 0 for file in files)
        title = f"{source or 'read'}  {len(files):,} file{'s' * (len(files) != 1)}  {size:,} bytes"
        twig = branch.add(escape(title))
        if list_files:
            for file in files:
                twig.add(escape(_file(file)))


def _file(file: File) -> str:
    return f"{file.name}  {'size unknown' if file.bytes is None else f'{file.bytes:,} bytes'}  {file.digest}"


def _circumstances(tags: Mapping[str, str]) -> dict[str, str]:
    named = {
        "MLflow run": PIPELINE_RUN_TAG,
        "recipe (SHA-256)": RECIPE_TAG,
        "code": CODE_TAG,
        "commit": COMMIT_TAG,
        "licences of the data": "corpus.licences",
    }
    found = {name: tags[tag] for name, tag in named.items() if tag in tags}
    images = {tag.removeprefix(IMAGE_TAGS): digest for tag, digest in tags.items() if tag.startswith(IMAGE_TAGS)}
    return found | {f"image {name}": digest for name, digest in images.items()}


def _plain(artifact: Artifact) -> dict[str, Any]:
    manifest = artifact.manifest
    return {
        "role": artifact.role,
        "kind": manifest.kind if manifest else None,
        "digest": artifact.digest,
        "place": artifact.place,
        "found": artifact.found,
        "problem": artifact.problem,
        "code": artifact.code,
        "inputs": artifact.inputs,
        "parts": {role: {"digest": digest, "place": place} for role, (digest, place) in artifact.parts.items()},
        "sources": {source: [asdict(file) for file in files] for source, files in artifact.sources.items()},
        "base_model": asdict(base) if manifest and (base := _base(artifact, [])) else None,
        "numbers": manifest.numbers if manifest and manifest.kind == EVALUATION else {},
    }
