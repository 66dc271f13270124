"""What is sent is what is needed: a rank's lists of others' wants are those wants."""

from __future__ import annotations

import numpy as np
import pytest

import sightline as sl
from sightline.distributed.routes import route
from sightline.plan.shard import Shard
from sightline.testing.random_masks import two_parts


def cuts(seed: int, count: int) -> list[Shard]:
    """Return random masks on 2 to 5 ranks, in blocks of random sizes."""
    random = np.random.default_rng(seed)
    found: list[Shard] = []
    while len(found) < count:
        mask, size, _ = two_parts(random)
        block, ranks = int(random.choice([1, 2, 3, 8, 70])), int(random.integers(2, 6))
        if -(-size // block) >= ranks:
            found.append(sl.shard(sl.plan(mask, size, block_q=block, block_kv=block), ranks))
    return found


def holders(cut: Shard) -> np.ndarray:
    """Return who holds each key, [batch, kv_len]."""
    owner = np.repeat(cut.keys.owner, cut.keys.sizes, axis=1)
    return np.broadcast_to(owner, (cut.batch, cut.plan.kv_len))


@pytest.mark.parametrize("seed", range(4))
def test_a_rank_is_asked_for_what_others_see_of_it(seed: int) -> None:
    for cut in cuts(seed, 25):
        seen, holder = [cut.needs_keys(rank) for rank in range(cut.ranks)], holders(cut)
        for rank in range(cut.ranks):
            for row, (others, keys) in enumerate(cut.asked_of(rank)):
                wanted = [
                    (other, int(key))
                    for other in range(cut.ranks)
                    for key in np.flatnonzero(seen[other][row] & (holder[row] == rank))
                    if other != rank
                ]
                assert list(zip(others.tolist(), keys.tolist(), strict=True)) == wanted


@pytest.mark.parametrize("seed", range(4))
def test_what_one_sends_the_other_receives(seed: int) -> None:
    for cut in cuts(100 + seed, 25):
        batch = max(cut.batch, 2)
        ways = [route(cut, rank, batch) for rank in range(cut.ranks)]
        for rank, way in enumerate(ways):
            assert way.receives == [other.sends[rank] for other in ways]
            assert way.sends[rank] == 0
            # The positions of what this rank is sent, in the order in which it comes.
            come: list[int] = []
            for other, sender in enumerate(ways):
                start = sum(sender.sends[:rank])
                part = slice(start, start + sender.sends[rank])
                table = cut.keys.positions(other)
                rows = sender.row[part].numpy() if len(table) > 1 else 0
                come += table[rows, sender.place[part].numpy()].tolist()
            place = way.others.place.numpy()
            for b in range(batch):
                real = place[b] >= 0
                told = way.others.positions[b if cut.batch > 1 else 0][: real.sum()]
                assert [come[i] for i in place[b][real]] == told.tolist()
