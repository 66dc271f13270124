"""Ranks to run on: two or four processes of one gloo group, kept for all tests of a session."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline.testing.ranks import RankPool, preload

# What tests here use on every rank: seconds, in each process anew.
preload(
    "torch._dynamo",  # by a first step of an optimizer
    "torch.distributed.fsdp",
    "transformers.models.llama.modeling_llama",
    "sightline.distributed.hugging_face",
    "sightline.recipes.training.loop",
)

sys.path.insert(0, str(Path(__file__).parent))  # helpers that tests and ranks import by name


@pytest.fixture(scope="session")
def two_ranks() -> Iterator[RankPool]:
    """Two processes."""
    pool = RankPool(2)
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def four_ranks() -> Iterator[RankPool]:
    """Four processes."""
    pool = RankPool(4)
    yield pool
    pool.close()


@pytest.fixture(params=[2, 4], ids=["two", "four"])
def ranks(request: pytest.FixtureRequest) -> RankPool:
    """Two processes, then four."""
    return request.getfixturevalue("two_ranks" if request.param == 2 else "four_ranks")
