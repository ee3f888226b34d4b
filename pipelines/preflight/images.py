"""Are images named so that they can't change?"""

from __future__ import annotations

from pipelines import images
from pipelines.preflight.site import DoubtError, Site


def check_images(site: Site) -> str:
    """Raises DoubtError when an image is named by a tag."""
    if tags := images.unpinned(site.recipe):
        raise DoubtError(f"by tag, which can be moved: {', '.join(tags)}; give their digests with --images")
    return f"{len(images.images(site.recipe))} images by digest"
