"""Inputs that are changed together: every forbidden pair is tested, and only such pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sightline as sl
from sightline.audit.probing.covering import cover


def covered(allowed: np.ndarray, tests: object) -> np.ndarray:
    """Written out: a pair is tested if some test changes its key and leaves all its query sees."""
    found = np.zeros_like(allowed)
    for keys in tests.keys:  # type: ignore[attr-defined]
        for query, row in enumerate(allowed):
            if not (row & keys).any():
                found[query] |= keys
    return found


@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_every_forbidden_pair_is_tested_and_no_allowed_one_is(
    queries: int, keys: int, seed: int
) -> None:
    allowed = np.random.default_rng(seed).random((queries, keys)) < 0.6
    tests = cover(allowed, most=50)
    assert (covered(allowed, tests) == ~allowed).all()
    assert tests.coverage == 1.0


@settings(max_examples=25)
@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_the_coverage_of_a_few_tests_is_what_it_says(most: int, seed: int) -> None:
    allowed = np.random.default_rng(seed).random((17, 23)) < 0.1
    tests = cover(allowed, most)
    assert len(tests.keys) <= most
    assert tests.coverage == pytest.approx(covered(allowed, tests).sum() / (~allowed).sum())


def test_quiet_says_who_sees_none_of_the_keys() -> None:
    allowed = sl.window(left=2, right=0).dense(7, 9)[0, 0]
    tests = cover(allowed, most=20)
    for keys, quiet in zip(tests.keys, tests.quiet, strict=True):
        assert (quiet == ~(allowed & keys).any(axis=1)).all()


def test_few_tests_cover_nearly_all_pairs_of_a_long_causal_mask() -> None:
    allowed = sl.causal().dense(512)[0, 0]
    assert cover(allowed, most=20).coverage > 0.9
    assert cover(allowed, most=40).coverage > cover(allowed, most=20).coverage


def test_edges_of_blocks_are_among_few_tests() -> None:
    allowed = sl.causal().dense(300)[0, 0]
    first = cover(allowed, most=24, hints=[64]).keys.argmax(axis=1)
    # What a query at the end of the first block of 64 must not see begins with the second one.
    assert {64, 128} <= set(first.tolist())


def test_nothing_is_tested_where_nothing_is_forbidden() -> None:
    tests = cover(np.ones((4, 5), dtype=bool), most=9)
    assert len(tests.keys) == 0
    assert tests.coverage == 1.0
