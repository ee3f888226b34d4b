"""No secret is in git, and none is guessable by accident."""

import base64
import subprocess

import pytest

from tests.manifests.rendering import OVERLAYS, ROOT, kustomize, of_kind, require_kubectl

FOLDERS = sorted((ROOT / "manifests" / "overlays").glob("*/secrets"))


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()


def test_git_ignores_the_files_and_has_none():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    assert len(FOLDERS) == 2
    for folder in FOLDERS:
        examples = list(folder.glob("*.env.example"))
        assert len(examples) == 4
        files = [str(example.with_suffix("")) for example in examples]
        assert git("check-ignore", *files) == files
        assert not git("ls-files", *files)


def test_passwords_are_generated_and_differ(rendered):
    secrets = {
        (entry["metadata"]["name"], key): base64.b64decode(value).decode()
        for entry in of_kind(rendered["kind"], "Secret")
        for key, value in entry["data"].items()
    }
    generated = [value for (_, key), value in secrets.items() if "PASSWORD" in key or "SECRET" in key]
    assert len(generated) == len(set(generated)) == 5
    assert all(len(value) >= 32 for value in generated)
    assert not [key for key, value in secrets.items() if "CHANGE-ME" in value]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_rendering_without_secrets_names_the_missing_file(overlay, tmp_path):
    require_kubectl()
    subprocess.run(["cp", "-r", ROOT / "manifests", tmp_path], check=True)
    for path in tmp_path.rglob("*.env"):
        path.unlink()
    with pytest.raises(subprocess.CalledProcessError) as caught:
        kustomize(tmp_path / "manifests" / "overlays" / overlay)
    assert ".env" in caught.value.stderr
