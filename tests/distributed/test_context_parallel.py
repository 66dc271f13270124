"""Attention over several ranks is attention in one process."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import sightline as sl
from sightline.testing.ranks import RankPool

MASKS = {
    "causal": sl.causal(),
    "packed": sl.causal() & sl.documents(lengths=[[37, 20, 43], [11, 80, 9]]),
    "window": sl.window(left=13, right=2),
    "heads": sl.per_head([sl.causal(), sl.window(left=9, right=0)] * 2),
    "padded": sl.padding(lengths=[100, 31]) & sl.padding(lengths=[100, 31]).T,
    "nothing": sl.nothing(),
}
BATCH, HEADS, KV_HEADS, LENGTH, DIM = 2, 4, 2, 100, 8


def draw(seed: int) -> list[torch.Tensor]:
    made = torch.Generator().manual_seed(seed)
    shapes = [(HEADS, DIM), (KV_HEADS, DIM), (KV_HEADS, DIM + 3), (HEADS, DIM + 3)]
    return [torch.randn(BATCH, heads, LENGTH, dim, generator=made) for heads, dim in shapes]


def attend_shared(mask: sl.Mask, overlap: bool) -> list[torch.Tensor]:
    spread = sl.distributed.spread(mask, LENGTH, block=8, overlap=overlap)
    *inputs, upstream = (sl.distributed.shard_batch(each, spread, dim=2) for each in draw(3))
    inputs = [each.requires_grad_() for each in inputs]
    output, lse = sl.distributed.attend(*inputs, mask, spread=spread, return_lse=True)
    output.backward(upstream)
    results: list[Any] = [output.detach(), *(each.grad for each in inputs)]
    whole = [sl.distributed.unshard(each, spread, dim=2) for each in results]
    return [*whole, sl.distributed.unshard(lse.detach(), spread, dim=2)]


@pytest.mark.parametrize("overlap", [True, False])
@pytest.mark.parametrize("name", MASKS)
def test_is_what_one_process_computes(ranks: RankPool, name: str, overlap: bool) -> None:
    mask = MASKS[name]
    *inputs, upstream = draw(3)
    inputs = [each.requires_grad_() for each in inputs]
    output, lse = sl.attend(*inputs, mask, return_lse=True)
    output.backward(upstream)
    wanted = [output.detach(), *(each.grad for each in inputs), lse.detach()]
    for shared in ranks.run(attend_shared, mask, overlap):
        for got, want in zip(shared, wanted, strict=True):
            torch.testing.assert_close(got, want)
        if not overlap:  # one pass in the order of the keys: not one bit apart
            assert torch.equal(shared[0], wanted[0])
            assert torch.equal(shared[1], wanted[1])
            assert torch.equal(shared[4], wanted[4])
