"""The backends that ``--backend`` names (see plugin.py), given to the tests that ask for one."""

from __future__ import annotations

from importlib import import_module

import pytest

from sightline.testing.backend import Backend
from sightline.testing.backends import BACKENDS, why_not


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test with each of the backends that were named and have what it asks for."""
    if "backend" not in metafunc.fixturenames:
        return
    named = metafunc.config.getoption("--backend", default=None)
    backends = [_find(name) for name in (BACKENDS if named is None else named)]
    asked = getattr(metafunc.function, "asks", ())
    able = [each for each in backends if all(getattr(each, feature) for feature in asked)]
    metafunc.parametrize("backend", [_parameter(each, named is None) for each in able])


def _parameter(backend: Backend, may_be_missing: bool) -> object:
    """Return the backend; one of ours that is not installed is a visible skip."""
    missing = why_not(backend.name) if BACKENDS.get(backend.name) is backend else None
    if missing and not may_be_missing:
        raise pytest.UsageError(f"--backend {backend.name}: {missing}")
    marks = pytest.mark.skip(reason=missing) if missing else ()
    return pytest.param(backend, id=backend.name, marks=marks)


def _find(name: str) -> Backend:
    if name in BACKENDS:
        return BACKENDS[name]
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise pytest.UsageError(
            f"--backend {name}: not found ({error}); wanted one of {', '.join(BACKENDS)}, or "
            "module:attribute of a sightline.testing.backend.Backend."
        ) from None
    if not isinstance(found, Backend):
        raise pytest.UsageError(
            f"--backend {name}: got {type(found).__name__}; wanted a sightline.testing Backend."
        )
    return found
