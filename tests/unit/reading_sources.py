"""Reading what a library takes, as the tests of sources do it."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import settings
from numpy.typing import NDArray

from sightline.recognize.sources import table
from sightline.recognize.sources.reading import Read
from sightline.testing.drawings import drawing

Bools = NDArray[np.bool_]
# Quick frames serve: what is read is read cell by cell.
FEW = settings(max_examples=40)


def read(given: object, source: str, **options: Any) -> Read:
    (found,) = table.read(given, source, options)
    assert found.allowed.dtype == np.bool_
    assert found.allowed.ndim == 4
    assert found.evidence
    return found


def drawn(found: Read, batch: int = 0, head: int = 0) -> list[str]:
    return drawing(found.allowed[batch, head])


def assert_same(got: Bools, wanted: Bools) -> None:
    assert got.shape[2:] == wanted.shape[2:]
    lead = np.broadcast_shapes(got.shape[:2], wanted.shape[:2])
    shape = (*lead, *wanted.shape[2:])
    np.testing.assert_array_equal(np.broadcast_to(got, shape), np.broadcast_to(wanted, shape))
