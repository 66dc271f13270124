"""The store of dense masks: right for every shape, bounded, safe to use from several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import sightline as sl
from sightline.engines.dense_masks import STORE, DenseMask, dense_mask
from sightline.engines.kept import Store
from sightline.engines.request import check_request


def request(mask: sl.Mask, q_len: int = 4, kv_len: int = 5, q_offset: int = 0):
    query, key = torch.zeros(2, 2, q_len, 3), torch.zeros(2, 2, kv_len, 3)
    return check_request(query, key, key, mask, q_offset=q_offset)


def entry(size: int) -> DenseMask:
    allowed = torch.ones(1, 1, 1, size, dtype=torch.bool)
    return DenseMask(allowed, None, allowed, None)


def test_a_mask_is_kept_by_value_and_shape() -> None:
    STORE.clear()
    first = dense_mask(request(sl.causal() & sl.padding(lengths=[3, 2])))
    again = dense_mask(request(sl.padding(lengths=[3, 2]) & sl.causal()))
    assert again is first
    for other in (
        request(sl.causal() & sl.padding(lengths=[2, 3])),
        request(sl.causal() & sl.padding(lengths=[3, 2]), q_len=5),
        request(sl.causal() & sl.padding(lengths=[3, 2]), kv_len=4),
        request(sl.causal() & sl.padding(lengths=[3, 2]), q_offset=1),
    ):
        found = dense_mask(other)
        assert found is not first
        shape = other.scores_shape[2:]
        assert torch.equal(
            found.allowed, torch.tensor(other.mask.dense(*shape, q_offset=other.q_offset))
        )
    assert len(STORE) == 5


def test_what_is_kept_of_a_mask() -> None:
    causal = dense_mask(request(sl.causal(), 5, 5))
    assert causal.form == "causal"
    assert causal.empty is None
    assert causal.opened is causal.allowed
    assert dense_mask(request(sl.causal(), 5, 5, 4)).form == "everything"
    assert dense_mask(request(sl.causal(), 5, 5, 1)).form is None
    strict = dense_mask(request(sl.causal(strict=True), 3, 3))
    assert strict.empty is not None
    assert strict.empty[0, 0].tolist() == [True, False, False]
    assert strict.opened[0, 0].int().tolist() == [[1, 0, 0], [1, 0, 0], [1, 1, 0]]
    assert strict.allowed[0, 0].int().tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0]]


def test_the_store_is_bounded_and_forgets_the_oldest() -> None:
    store = Store(budget=250)
    for name in "abc":
        store.get(name, lambda: entry(100))
    assert len(store) == 2
    built = []

    def build() -> DenseMask:
        built.append(1)
        return entry(100)

    store.get("c", build)
    store.get("b", build)
    assert not built
    store.get("a", build)  # forgotten before, and pushes out c, used longest ago
    store.get("b", build)
    assert len(built) == 1
    store.get("c", build)
    assert len(built) == 2
    assert store.get("huge", lambda: entry(1000)).allowed.numel() == 1000
    assert len(store) == 2


def test_the_store_is_bounded_in_number_too() -> None:
    """A decoding loop makes a small new form every step, for ever."""
    store = Store(budget=1000, most=3)
    for name in range(9):
        store.get(name, lambda: entry(1))
    assert len(store) == 3
    built = []
    for name in range(6, 9):
        store.get(name, lambda: built.append(1) or entry(1))
    assert not built


def test_the_store_forgets_everything_when_told() -> None:
    store = Store(budget=1000)
    store.get("a", lambda: entry(10))
    store.clear()
    assert len(store) == 0
    for name in range(20):
        store.get(name, lambda: entry(100))
    assert len(store) == 10  # the bytes of what was forgotten count no longer


@pytest.mark.parametrize("budget", [0, 300])
def test_many_threads(budget: int) -> None:
    store = Store(budget)

    def work(seed: int) -> None:
        for step in range(200):
            size = 50 + (seed + step) % 7
            assert store.get(size, lambda size=size: entry(size)).allowed.shape[-1] == size

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(store) <= 5
