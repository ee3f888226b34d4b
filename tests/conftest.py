"""What all tests share: the real data, and an environment that says nothing about it."""

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).parents[2] / "shared" / "data"
# Taken away at once: a caller's choice of data must not win over the data roots of the tests' own recipes
REAL_DATA = Path(os.environ.pop("MEDITRON_DATA", "") or _BESIDE)


@pytest.fixture
def real_data() -> Path:
    """The real sample files; tests that need them are skipped where they are not at hand."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real data in {REAL_DATA}; set MEDITRON_DATA")
    return REAL_DATA
