"""Small inputs for the corpus stage, and a platform on plain files."""

import gzip
import json
import re

import pytest
from hypothesis import settings

from components.corpus import markup
from components.platform.context import PlatformSettings, TrackingSettings
from components.platform.data import SourceFile

# Machines differ in speed, and the first example pays for imports
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture
def platform(tmp_path):
    (tmp_path / "data").mkdir(exist_ok=True)
    return PlatformSettings(
        data=str(tmp_path / "data"),
        workspace=str(tmp_path / "runs"),
        tracking=TrackingSettings(uri=f"sqlite:///{tmp_path}/runs/mlflow.db", artifacts=str(tmp_path / "mlartifacts")),
    )


@pytest.fixture
def readable():
    """A text with its marks written as tokens and runs of spaces folded, to compare with."""

    def show(text):
        for mark, token in markup.MARKS.items():
            text = text.replace(mark, token)
        return re.sub(" +", " ", text)

    return show


@pytest.fixture
def source_file(tmp_path):
    """Writes bytes, text or JSON rows to a file (gzipped when its name says so) and describes it as a source."""

    def make(name, content, gzipped_content_cut=None):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list):
            content = "".join(json.dumps(row) + "\n" for row in content)
        data = content.encode() if isinstance(content, str) else content
        if name.endswith(".gz"):
            data = gzip.compress(data, mtime=0)[:gzipped_content_cut]
        path.write_bytes(data)
        return SourceFile(name, str(path), len(data), "sha256:" + "0" * 64)

    return make
