"""The orders and targets of XLNet, and the masks made from them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.recipes.xlnet.sampling import (
    Factorization,
    count_targets,
    draw_factorization,
    draw_targets,
)

LENGTHS = st.integers(1, 23)
SEEDS = st.integers(0, 2**32 - 1)


def some_kinds(seed: int, length: int, batch: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return random targets and functional tokens, no token both."""
    kinds = np.random.default_rng(seed).choice(3, size=(batch, length), p=[0.5, 0.35, 0.15])
    return kinds == 1, kinds == 2


def perm_mask_by_definition(
    ranks: list[int], targets: list[bool], functional: list[bool]
) -> list[list[int]]:
    """Return 1 where i may not see j, pair by pair, from the published definition.

    A given token's rank is -1; a target compares with its own rank, any other token with the one
    after; i may not see j if that is at most j's rank and j is a target or functional.
    """
    length = len(ranks)
    rows = []
    for i in range(length):
        own = ranks[i] if targets[i] else ranks[i] + 1
        row = [int(own <= ranks[j] and (targets[j] or functional[j])) for j in range(length)]
        rows.append(row)
    return rows


@given(seed=SEEDS, length=LENGTHS, perm_size=st.integers(1, 30))
def test_masks_are_the_published_formula(seed: int, length: int, perm_size: int) -> None:
    targets, functional = some_kinds(seed, length)
    rng = np.random.default_rng(seed)
    order = draw_factorization(rng, targets, functional, perm_size)
    content = order.content_mask.dense(length)[:, 0]
    query = order.query_mask.dense(length)[:, 0]
    for row, ranks in enumerate(order.ranks.tolist()):
        blocked = np.array(
            perm_mask_by_definition(ranks, targets[row].tolist(), functional[row].tolist())
        )
        # The content stream sees itself besides; the query stream runs at the targets.
        np.testing.assert_array_equal(content[row], (blocked == 0) | np.eye(length, dtype=bool))
        np.testing.assert_array_equal(query[row][targets[row]], blocked[targets[row]] == 0)


@given(seed=SEEDS, length=LENGTHS, perm_size=st.integers(1, 30))
def test_who_sees_whom(seed: int, length: int, perm_size: int) -> None:
    targets, functional = some_kinds(seed, length)
    order = draw_factorization(np.random.default_rng(seed), targets, functional, perm_size)
    content = order.content_mask.dense(length)[:, 0]
    query = order.query_mask.dense(length)[:, 0]
    shown = ~(targets | functional)
    for row in range(len(targets)):
        assert content[row].diagonal().all()
        assert content[row][:, shown[row]].all()  # given tokens are seen by all,
        assert not content[row][shown[row]][:, ~shown[row]].any()  # and see nobody else
        assert not query[row].diagonal()[targets[row]].any()
        # Of two that are not given, exactly one sees the other.
        hidden = content[row][~shown[row]][:, ~shown[row]]
        assert (hidden ^ hidden.T ^ np.eye(len(hidden), dtype=bool)).all()


@given(seed=SEEDS, length=LENGTHS, perm_size=st.integers(1, 30))
def test_ranks(seed: int, length: int, perm_size: int) -> None:
    targets, functional = some_kinds(seed, length)
    order = draw_factorization(np.random.default_rng(seed), targets, functional, perm_size)
    np.testing.assert_array_equal(order.ranks < 0, ~(targets | functional))
    np.testing.assert_array_equal(order.targets, targets)
    for ranks in order.ranks:
        real = ranks[ranks >= 0]
        assert len(set(real.tolist())) == len(real)
        # A stretch of perm_size columns has the ranks of just these columns.
        own = np.flatnonzero(ranks >= 0)
        np.testing.assert_array_equal(real // perm_size, own // perm_size)


def test_every_order_of_a_stretch_is_drawn_equally_often() -> None:
    targets = np.ones((6000, 3), dtype=bool)
    order = draw_factorization(np.random.default_rng(0), targets, ~targets, 3)
    counts = Counter(map(tuple, order.ranks.tolist()))
    assert len(counts) == 6
    assert all(850 < count < 1150 for count in counts.values())  # 1000 +- 5 deviations


def test_rows_are_shuffled_apart() -> None:
    targets = np.ones((4, 12), dtype=bool)
    order = draw_factorization(np.random.default_rng(0), targets, ~targets, 12)
    assert len({tuple(row) for row in order.ranks.tolist()}) == 4


@given(
    seed=SEEDS,
    length=st.integers(1, 80),
    share=st.floats(0, 1),
    longest=st.integers(1, 5),
    context=st.integers(1, 8),
)
def test_exactly_as_many_targets_as_wanted(
    seed: int, length: int, share: float, longest: int, context: int
) -> None:
    rng = np.random.default_rng(seed)
    wanted = int(share * length)
    starts = rng.random(length) < 0.5
    chosen = draw_targets(rng, starts, wanted, longest=longest, context=context)
    assert chosen.shape == (length,)
    assert chosen.dtype == np.bool_
    assert chosen.sum() == wanted


def test_runs_begin_words_and_have_the_odds_of_their_length() -> None:
    length = 90_000
    starts = np.arange(length) % 3 == 1
    # So few that they are found before the text ends: nothing is left to be chosen at random.
    chosen = draw_targets(np.random.default_rng(0), starts, length // 12)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], chosen, [0]]).astype(int)))
    begins, ends = edges[::2], edges[1::2]
    assert starts[begins].all()
    runs = Counter((ends - begins).tolist())
    whole = sum(1 / size for size in range(1, 6))
    assert set(runs) == {1, 2, 3, 4, 5}
    for size, count in runs.items():
        assert abs(count / len(begins) - 1 / size / whole) < 0.03, size
    # n * 6 others around each run of n, and on the average one more up to the next word.
    assert abs((ends[-1] / len(begins)) / (7 * chosen.sum() / len(begins) + 1) - 1) < 0.02


def test_targets_are_spread_over_the_text() -> None:
    rng = np.random.default_rng(1)
    starts = np.ones(120, dtype=bool)
    drawn = np.mean([draw_targets(rng, starts, 20) for _ in range(2000)], axis=0)
    # One in six everywhere; less at the first tokens, which only short steps reach.
    assert abs(drawn.mean() - 1 / 6) < 1e-9
    assert drawn[5:110].min() > 0.1
    assert drawn[5:110].max() < 0.25


def test_published_number_of_targets() -> None:
    assert count_targets(512, 6) == 85
    assert count_targets(4, 6) == 1


def test_a_token_is_not_both() -> None:
    both = np.array([[True, False]])
    with pytest.raises(sl.InvalidArgument, match="functional"):
        draw_factorization(np.random.default_rng(0), both, both, 2)
    with pytest.raises(sl.InvalidArgument, match="perm_size=0"):
        draw_factorization(np.random.default_rng(0), both, ~both, 0)


@pytest.mark.parametrize(
    "options",
    [{"wanted": 4}, {"wanted": -1}, {"wanted": 1, "longest": 0}, {"wanted": 1, "context": 0}],
)
def test_numbers_that_do_not_fit(options: dict[str, int]) -> None:
    with pytest.raises(sl.InvalidArgument, match="for 3 tokens"):
        draw_targets(np.random.default_rng(0), np.ones(3, dtype=bool), **options)


def test_masks_say_what_they_are() -> None:
    order = Factorization(np.array([[1, 0, -1]]), np.array([[True, True, False]]))
    given = sl.padding(valid=[[0, 0, 1]])
    assert order.content_mask == sl.permutation([2, 1, 0]) | given
    assert order.query_mask == sl.permutation([2, 1, 0], stream="query") | given
