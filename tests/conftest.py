"""What every test shares: hypothesis profiles, and the corpora where a machine has them.

Helpers that belong to one directory of tests stand in that directory, or in sightline.testing.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# "ci" is the same on every run, so that a red test means a changed program. No deadline and no
# complaint about slow generation: the machine's load is not the program's fault.
settings.register_profile(
    "ci",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.register_profile(
    "thorough",
    deadline=None,
    max_examples=1000,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile(os.environ.get("SIGHTLINE_HYPOTHESIS", "ci"))


def pytest_configure() -> None:
    """Give each xdist worker its share of the cores; frameworks read this when they load."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        share = max(1, (os.cpu_count() or 1) // workers)
        os.environ.setdefault("OMP_NUM_THREADS", str(share))


@pytest.fixture(scope="session")
def sightline_data() -> Path:
    """The folder of corpora named by SIGHTLINE_DATA; a test that asks for it is marked ``data``."""
    named = os.environ.get("SIGHTLINE_DATA")
    if not named:
        pytest.skip("SIGHTLINE_DATA is not set; it names the folder of corpora")
    folder = Path(named)
    if not folder.is_dir():
        pytest.fail(f"SIGHTLINE_DATA={named} is not a folder")
    return folder
