"""How a rank attends: what it sends when, what is computed again, dropout, rounding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import sightline as sl
from sightline.testing.ranks import RankPool

PACKED = sl.causal() & sl.documents(lengths=[30, 50, 16])
LENGTH, BLOCK = 96, 4


def share_of(mask: sl.Mask, seed: int = 0, **options: Any) -> tuple[Any, list[torch.Tensor]]:
    """Return a spread and this rank's query, key, value and gradient of the output."""
    made = torch.Generator().manual_seed(seed)
    dtype = options.pop("dtype", torch.float32)
    spread = sl.distributed.spread(mask, LENGTH, block=BLOCK, **options)
    drawn = [torch.randn(2, 2, LENGTH, 8, generator=made).to(dtype) for _ in range(4)]
    at = spread.positions()[0]
    return spread, [each[:, :, at] for each in drawn]


def grads_of(inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    return [each.grad for each in inputs if each.grad is not None]


def recomputed(overlap: bool, reentrant: bool) -> bool:
    """Return whether two layers computed again give the same gradients, to the bit."""
    found = []
    for again in (False, True):
        spread, (*inputs, upstream) = share_of(PACKED, overlap=overlap)  # asked for the first time
        inputs = [each.requires_grad_() for each in (*inputs, torch.linspace(-1, 1, LENGTH))]

        def layers(
            q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor, spread: Any
        ) -> torch.Tensor:
            told = {"spread": spread, "bias": bias}
            once = sl.distributed.attend(q, k, v, PACKED, **told)
            return sl.distributed.attend(once, k + once, v, PACKED, **told, dropout=0.2)

        torch.manual_seed(5)
        told: dict[str, Any] = {"use_reentrant": reentrant}
        given: Any = (*inputs, spread)
        output = checkpoint(layers, *given, **told) if again else layers(*given)
        output.backward(upstream)
        found.append([output.detach(), *grads_of(inputs)])
    return all(torch.equal(a, b) for a, b in zip(*found, strict=True)) and len(found[0]) == 5


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("overlap", [True, False])
def test_checkpoints_compute_again(ranks: RankPool, overlap: bool, reentrant: bool) -> None:
    assert all(ranks.run(recomputed, overlap, reentrant))


def nothing_seen(overlap: bool) -> bool:
    """Return whether that is so where all but one rank see nothing, and keep nothing of a layer."""
    mask = sl.everything() & sl.padding(lengths=[1]).T  # query 0 alone sees
    found = []
    for again in (False, True):
        spread, (query, key, value, upstream) = share_of(mask, overlap=overlap)
        value.requires_grad_()

        def layer(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, spread: Any) -> Any:
            return sl.distributed.attend(q, k, v, mask, spread=spread)

        given = query, key, value, spread
        output = checkpoint(layer, *given, use_reentrant=False) if again else layer(*given)
        output.backward(upstream)
        found.append([output.detach(), value.grad])
    return all(map(torch.equal, *found))


@pytest.mark.parametrize("overlap", [True, False])
def test_a_rank_that_sees_nothing_computes_again_with_the_others(
    ranks: RankPool, overlap: bool
) -> None:
    assert all(ranks.run(nothing_seen, overlap))


def twice(overlap: bool) -> bool:
    """Return whether a second backward pass of one graph gives the same."""
    spread, (query, key, value, upstream) = share_of(PACKED, overlap=overlap)
    inputs = [each.requires_grad_() for each in (query, key, value)]
    output = sl.distributed.attend(query, key, value, PACKED, spread=spread)
    first = torch.autograd.grad(output, inputs, upstream, retain_graph=True)
    second = torch.autograd.grad(output, inputs, upstream)
    only = torch.autograd.grad(
        sl.distributed.attend(query, key, value, PACKED, spread=spread), value, upstream
    )
    return all(map(torch.equal, first, second)) and torch.equal(only[0], first[2])


@pytest.mark.parametrize("overlap", [True, False])
def test_a_graph_is_walked_twice(ranks: RankPool, overlap: bool) -> None:
    assert all(ranks.run(twice, overlap))


def order_of_events() -> list[str]:
    """Return what happens in a forward and a backward pass, in order."""
    from sightline.distributed import exchange, passes

    spread, (query, key, value, upstream) = share_of(sl.causal())
    events: list[str] = []

    class Seen(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, output: torch.Tensor) -> torch.Tensor:
            events.append("attended")
            return output.view_as(output)

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            events.append("gradients of an attention")
            return grad

    class Watched(exchange.Flight):
        def __init__(self, *told: Any) -> None:
            events.append("sent")
            super().__init__(*told)

        def land(self) -> torch.Tensor:
            events.append("waited")
            return super().land()

    def attend(*told: Any, **more: Any) -> Any:
        output, lse = kernels(*told, **more)
        return Seen.apply(output), lse

    kernels, flight = passes.attend_here, exchange.Flight
    passes.attend_here, exchange.Flight = attend, Watched
    try:
        inputs = [each.requires_grad_() for each in (query, key, value)]
        output = sl.distributed.attend(*inputs, sl.causal(), spread=spread)
        output.backward(upstream)
    finally:
        passes.attend_here, exchange.Flight = kernels, flight
    return events


def test_a_rank_attends_while_keys_and_gradients_travel(ranks: RankPool) -> None:
    forwards = ["sent", "attended", "waited", "attended"]
    gradients = "gradients of an attention"
    backwards = [gradients, "sent", gradients, "waited"]
    for events in ranks.run(order_of_events):
        assert events == forwards + backwards


def sends_nothing() -> bool:
    """Return whether documents that lie whole on a rank keep all bits, and nothing is sent."""
    from sightline.distributed import exchange

    mask = sl.causal() & sl.documents(lengths=[LENGTH // 4] * 4)
    spread, (query, key, value, upstream) = share_of(mask)
    assert spread.cut.received.sum() == 0, spread.cut.received
    flight, exchange.Flight = exchange.Flight, None
    try:
        inputs = [each.requires_grad_() for each in (query, key, value)]
        output = sl.distributed.attend(*inputs, mask, spread=spread)
        output.backward(upstream)
    finally:
        exchange.Flight = flight
    at = spread.positions()[0]
    made = torch.Generator().manual_seed(0)
    q, k, v, whole = (torch.randn(2, 2, LENGTH, 8, generator=made) for _ in range(4))
    one = [each.requires_grad_() for each in (q, k, v)]
    wanted = sl.attend(q, k, v, mask)
    wanted.backward(whole)
    pairs = zip([output, *grads_of(inputs)], [wanted, *grads_of(one)], strict=True)
    return all(torch.equal(a, b[:, :, at]) for a, b in pairs)


def test_documents_that_lie_whole_on_a_rank(ranks: RankPool) -> None:
    assert all(ranks.run(sends_nothing))


def dropped(overlap: bool, seed: int) -> tuple[list[float], float]:
    """Return means over dropped weights, and what torch's generator draws afterwards."""
    spread, (query, key, value, _) = share_of(sl.everything(), overlap=overlap)
    torch.manual_seed(seed)
    told = {"spread": spread, "dropout": 0.5}
    query, key, value = query * 0, key * 0, value * 0 + 1
    outputs = [sl.distributed.attend(query, key, value, sl.everything(), **told) for _ in range(30)]
    after = torch.rand(())
    return torch.stack(outputs).mean(dim=(0, 1, 2, 4)).tolist(), float(after)


@pytest.mark.parametrize("overlap", [True, False])
def test_dropout_differs_between_ranks_seeded_alike(ranks: RankPool, overlap: bool) -> None:
    answers = ranks.run(dropped, overlap, 3)
    for means, after in answers:
        assert sum(means) / len(means) == pytest.approx(1, abs=0.02)
        assert after == answers[0][1]
    rows = [tuple(means) for means, _ in answers]
    assert len(set(rows)) == len(rows)
    assert ranks.run(dropped, overlap, 3) == answers


def rounded_once() -> bool:
    """Return whether the gradients of a key that all ranks see are rounded once, in bfloat16."""
    mask = sl.everything()
    spread, (query, key, value, upstream) = share_of(mask, dtype=torch.bfloat16)
    value.requires_grad_()
    # One value has gradients 1 of rank 0 and 2**-9 of the others: each alone would be rounded off.
    upstream = torch.full_like(upstream, 2.0**-9 if spread.ranks.rank else 1.0)
    output = sl.distributed.attend(query * 0, key * 0, value, mask, spread=spread)
    output.backward(upstream * LENGTH / spread.length)
    wanted = torch.tensor(1 + (spread.ranks.size - 1) * 2.0**-9).bfloat16()
    assert value.grad is not None
    return bool((value.grad == wanted).all())


def test_gradients_of_several_ranks_are_rounded_once(four_ranks: RankPool) -> None:
    assert all(four_ranks.run(rounded_once))


def added_in_order() -> bool:
    """Return whether gradients are added in the order of the ranks, whoever holds the key."""
    mask = sl.everything()
    spread, (query, key, value, upstream) = share_of(mask)
    value.requires_grad_()
    given = (2.0**30, -(2.0**30), 1.0, 0.0)[spread.ranks.rank]  # a sum in another order is 0
    output = sl.distributed.attend(query * 0, key * 0, value, mask, spread=spread)
    first = torch.zeros_like(upstream)
    first[:, :, 0] = given
    output.backward(first)
    assert value.grad is not None
    return bool((value.grad > 0).all())


def test_gradients_are_added_in_the_order_of_the_ranks(four_ranks: RankPool) -> None:
    assert all(four_ranks.run(added_in_order))


def other_batches() -> list[str]:
    mask = sl.causal() & sl.documents(lengths=[[30, 50, 16], [90, 6, 0]])
    spread, (query, key, value, _) = share_of(mask)
    assert spread.queries.batch == 2
    told: list[str] = []
    for rows in (1, 3):
        q, k, v = (each[:1].expand(rows, -1, -1, -1) for each in (query, key, value))
        with pytest.raises(sl.ShapeMismatch) as caught:
            sl.distributed.attend(q, k, v, sl.causal(), spread=spread)
        told.append(str(caught.value))
    return told


def test_other_batch_rows_than_are_dealt_out_are_refused(two_ranks: RankPool) -> None:
    for told in two_ranks.run(other_batches):
        assert told[0].startswith("got 1 batch rows; wanted 2, which the spread deals out")
        assert told[1].startswith("got 3 batch rows; wanted 2, which")


def batches_in_turn(overlap: bool) -> bool:
    """Return whether batches of other sizes under one mask are what one process has."""
    mask = sl.causal() & sl.documents(lengths=[30, 50, 16])
    spread, _ = share_of(mask, overlap=overlap)
    at, same = spread.positions()[0], []
    for rows in (2, 1, 3, 2):
        made = torch.Generator().manual_seed(rows)
        given = [torch.randn(rows, 2, LENGTH, 8, generator=made) for _ in range(3)]
        query, key, value = (each[:, :, at] for each in given)
        got = sl.distributed.attend(query, key, value, mask, spread=spread)
        wanted = sl.attend(given[0], given[1], given[2], mask)[:, :, at]
        same.append(torch.allclose(got, wanted, atol=1e-5))
    return all(same)


@pytest.mark.parametrize("overlap", [True, False])
def test_batches_of_other_sizes_in_turn(two_ranks: RankPool, overlap: bool) -> None:
    assert all(two_ranks.run(batches_in_turn, overlap))


def kept() -> tuple[bool, int]:
    """Return whether a mask's portion is made once, and how many are kept of many masks."""
    spread, (query, key, value, _) = share_of(PACKED)
    for _ in range(2):
        sl.distributed.attend(query, key, value, PACKED, spread=spread)
        alike = sl.causal() & sl.documents(lengths=[30, 50, 16])
        sl.distributed.attend(query, key, value, alike, spread=spread)
    once = len(spread._portions) == 1
    for width in range(70):
        sl.distributed.attend(query, key, value, sl.window(left=width), spread=spread)
    return once, len(spread._portions)


def test_a_mask_is_worked_out_once(two_ranks: RankPool) -> None:
    for once, count in two_ranks.run(kept):
        assert once
        assert count == 64
