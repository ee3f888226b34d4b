"""The rendered overlays, each rendered once."""

import pytest

from tests.manifests.rendering import OVERLAYS, copy_with_secrets, kustomize, require_kubectl


@pytest.fixture(scope="session")
def manifests(tmp_path_factory):
    """A copy of the manifests with secrets."""
    require_kubectl()
    return copy_with_secrets(tmp_path_factory.mktemp("manifests"))


@pytest.fixture(scope="session")
def rendered(manifests):
    """Overlay → its objects."""
    return {overlay: kustomize(manifests / "overlays" / overlay) for overlay in OVERLAYS}


@pytest.fixture(params=OVERLAYS)
def objects(rendered, request):
    """The objects of each overlay in turn."""
    return rendered[request.param]
