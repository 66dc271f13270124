"""The likely cause of leaks, from what the guilty operation was called with."""

from __future__ import annotations

import pytest

import sightline as sl
from sightline.audit.causes import likely_cause

from . import leaking_models as models
from .test_localize import located


@pytest.mark.parametrize("case", models.CASES, ids=lambda case: case.name)
def test_cause_of_a_leak(case: models.Case) -> None:
    found = located(case.make, case.training)
    assert found is not None
    said = likely_cause(found.place, found.facts, sl.causal(), None)
    assert case.cause in said
    assert bool(said) == bool(case.cause), said
