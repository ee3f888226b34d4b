"""Can results be written?"""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path, PurePosixPath

from components.platform import storage
from components.platform.errors import InputError
from pipelines.preflight.site import DoubtError, Site


def check_workspace(site: Site) -> str:
    """Write an object below the workspace, read it, and delete it.

    Raises:
        InputError: S3 refuses one of these.
        DoubtError: the workspace is a folder that can't be seen from here.
    """
    workspace = site.recipe.platform.workspace
    if not storage.is_s3(workspace):
        claims = site.recipe.cluster.volume_claims
        claim = next((claims[path] for path in claims if PurePosixPath(workspace).is_relative_to(path)), None)
        if claim is None:
            raise DoubtError(f"{workspace} is on no volume claim of the recipe; each step would have its own")
        return f"{workspace} on claim {claim} (not written to from here)"
    name, content = f".preflight-{uuid.uuid4().hex}", "written by meditron preflight\n"
    location = storage.join(workspace, name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_text(content, encoding="utf-8")
        storage.upload(Path(folder), {name: storage.sha256(path)}, workspace)
    try:
        if storage.read_text(location) != content:
            raise InputError(f"{location}: reads other than it was written")
    finally:
        storage.delete([location])
    if storage.exists(location):
        raise InputError(f"{location}: is still there after it was deleted; look for it by hand")
    return f"{workspace}: written, read, deleted"
