"""Lets the tests of this directory import the helpers that stand beside them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def kernels() -> Iterator[None]:
    """Engine ``cpu``, or a visible skip; torch.compile starts and ends with nothing kept."""
    import torch
    from poisoning import available

    available("cpu")
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()
