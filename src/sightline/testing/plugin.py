"""pytest's way to the conformance suite: the option ``--backend``, for that suite alone.

It is added only where the suite is what is run, so that other projects' options keep their names.
"""

from __future__ import annotations

import pytest


def pytest_load_initial_conftests(parser: pytest.Parser, args: list[str]) -> None:
    """Add ``--backend`` if ``sightline.testing`` is among what pytest is asked to run."""
    if any(arg.replace("/", ".").find("sightline.testing") >= 0 for arg in args):
        parser.addoption(
            "--backend",
            action="append",
            default=None,
            help="a backend of Sightline's, or module:attribute of a sightline.testing Backend; "
            "may be given several times",
        )
