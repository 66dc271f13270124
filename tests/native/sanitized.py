"""A pytest plugin for `make sanitize`: tests run the kernels compiled with sanitizers.

Loaded with -p, hence before anything else asks for the kernels; SIGHTLINE_SANITIZED names the
folder that holds them. Without that variable it does nothing.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

NAME = "sightline.native._kernels"


def load(folder: Path) -> None:
    """Put the module of ``folder`` where an import of the kernels will find it."""
    (path,) = [p for s in EXTENSION_SUFFIXES for p in folder.glob(f"_kernels{s}")]
    spec = spec_from_file_location(NAME, path, loader=ExtensionFileLoader(NAME, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)


folder = os.environ.get("SIGHTLINE_SANITIZED")
if folder and NAME not in sys.modules:  # pytest, looking for doctests, imports this file again
    load(Path(folder))


def pytest_report_header() -> list[str]:
    module = sys.modules.get(NAME)
    return [f"kernels: {module.__file__}"] if module else []


@pytest.fixture(autouse=True, scope="session")
def _kernels_are_the_sanitized_ones() -> None:
    if folder:
        from sightline.native import kernels

        assert Path(str(kernels().__file__)).parent == Path(folder)
