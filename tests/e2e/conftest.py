"""What the tests of the command line share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sightline.cli.main import main


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run_in_process(*words: object) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        return code, out, err

    return run_in_process
