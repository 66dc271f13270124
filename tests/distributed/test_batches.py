"""Batches cut and put together again, labels made before the cut, losses over all ranks."""

from __future__ import annotations

import re
from collections import namedtuple
from typing import Any

import pytest
import torch

import sightline as sl
from sightline.testing.ranks import RankPool

LENGTH = 53
ALIKE = sl.causal() & sl.documents(lengths=[20, 9, 24])
Pair = namedtuple("Pair", "first second")


def uneven(per_row: bool = False) -> Any:
    """Shares of different lengths; with ``per_row``, of other tokens in each batch row."""
    spread = sl.distributed.spread(ALIKE, LENGTH, block=4)
    if not per_row:
        return spread
    cut = spread.cut
    owner = cut.queries.owner[0]
    order = list(range(len(owner) - 1))  # the last block is shorter and stays
    turned = owner.copy()
    turned[order] = owner[order[::-1]]
    queries = type(cut.queries)(
        torch.tensor([owner.tolist(), turned.tolist()]).int().numpy(), cut.queries.edges, cut.ranks
    )
    made = type(cut)(cut.plan, queries, queries, cut.costs)
    return type(spread)(spread.ranks, made, spread.overlap)


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def cut_and_whole(per_row: bool) -> list[Any]:
    spread = uneven(per_row)
    found = []
    shapes = [((2, LENGTH), 1), ((2, 3, LENGTH, 4), 2), ((LENGTH, 2, 3), 0), ((2, LENGTH), -1)]
    for shape, dim in shapes:
        whole = numbers(*shape)
        share = sl.distributed.shard_batch(whole, spread, dim=dim)
        assert share.shape[dim] == spread.length < LENGTH
        found.append((whole, sl.distributed.unshard(share, spread, dim=dim)))
    places = spread.positions().expand(2, -1)
    share = sl.distributed.shard_batch(torch.arange(LENGTH)[None].expand(2, -1), spread)
    alike = sl.distributed.shard_batch(torch.arange(LENGTH)[None], spread)
    return [*found, (places, share), (spread.positions(), alike)]


@pytest.mark.parametrize("per_row", [False, True])
def test_a_cut_batch_is_whole_again(ranks: RankPool, per_row: bool) -> None:
    for found in ranks.run(cut_and_whole, per_row):
        for wanted, got in found:
            assert torch.equal(wanted, got)


def collections() -> None:
    spread = uneven()
    tokens, target = torch.arange(2 * LENGTH).view(2, LENGTH), torch.tensor([3, 4])
    share = sl.distributed.shard_batch(tokens, spread)
    given = {"tokens": tokens, "target": target, "name": "it"}
    made = sl.distributed.shard_batch(given, spread, positions=True)
    assert torch.equal(made["tokens"], share)
    assert made["target"] is target
    assert made["name"] == "it"
    assert torch.equal(made["positions"], spread.positions())
    assert set(given) == {"tokens", "target", "name"}
    square = {"tokens": tokens, "table": torch.zeros(3, LENGTH)}
    kept = sl.distributed.shard_batch(square, spread, names=["tokens"])
    assert kept["table"] is square["table"]
    pair = sl.distributed.shard_batch(Pair(tokens, tokens.float()), spread)
    assert isinstance(pair, Pair)
    first, second = pair
    assert torch.equal(first, share)
    assert torch.equal(second, share.float())
    assert isinstance(sl.distributed.shard_batch([tokens], spread), list)


def test_collections_are_cut_by_what_has_the_length(ranks: RankPool) -> None:
    ranks.run(collections)


def of_a_batch() -> None:
    batch = sl.Batch.from_sequences([list(range(1, 18)), list(range(1, 6))], side="left")
    spread = sl.distributed.spread(batch.mask, batch.length, block=2)
    made = sl.distributed.shard_batch(batch, spread)
    assert set(made) == {"tokens", "positions", "valid"}
    for name, whole in [("tokens", batch.tokens), ("positions", batch.positions)]:
        assert torch.equal(sl.distributed.unshard(made[name], spread), whole)
    lengths = sl.Batch.from_lengths([5, 12])
    spread = sl.distributed.spread(lengths.mask, lengths.length, block=1)
    assert set(sl.distributed.shard_batch(lengths, spread)) == {"positions", "valid"}


def test_a_batch_of_sequences(two_ranks: RankPool) -> None:
    two_ranks.run(of_a_batch)


def whole_gradient(per_row: bool) -> tuple[torch.Tensor, torch.Tensor]:
    spread = uneven(per_row)
    whole, weight = numbers(2, 5, LENGTH), numbers(2, LENGTH, 5).transpose(1, 2)
    share = sl.distributed.shard_batch(whole, spread, dim=2).requires_grad_()
    (sl.distributed.unshard(share.square(), spread, dim=2) * weight).sum().backward()
    return sl.distributed.unshard(share.grad, spread, dim=2), 2 * whole * weight


@pytest.mark.parametrize("per_row", [False, True])
def test_the_gradient_of_the_whole_averages_to_that_of_the_loss(
    ranks: RankPool, per_row: bool
) -> None:
    for summed, wanted in ranks.run(whole_gradient, per_row):
        torch.testing.assert_close(summed / ranks.size, wanted)


def refused(what: str) -> str:
    spread = uneven()
    tokens = torch.zeros(2, LENGTH, dtype=torch.int64)
    cut = sl.distributed.shard_batch
    calls = {
        "length": lambda: cut(tokens[:, 1:], spread),
        "name": lambda: cut({"a": tokens, "b": tokens[:, 1:]}, spread, names=["a", "b"]),
        "no name": lambda: cut({"a": tokens}, spread, names=["b"]),
        "nothing": lambda: cut({"a": tokens[:, 1:]}, spread),
        "kind": lambda: cut("tokens", spread),
        "positions": lambda: cut(tokens, spread, positions=True),
        "rows": lambda: cut(torch.zeros(3, LENGTH), uneven(per_row=True)),
        "share": lambda: sl.distributed.unshard(tokens, spread),
        "dim": lambda: sl.distributed.unshard(tokens, spread, dim=2),
        "losses": lambda: sl.distributed.mean_loss(tokens.float(), None, spread),
        "logits": lambda: sl.distributed.cross_entropy(torch.zeros(2, LENGTH, 4), tokens, spread),
    }
    with pytest.raises(sl.SightlineError) as caught:
        calls[what]()
    return f"{type(caught.value).__name__}: {caught.value}"


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("length", "ShapeMismatch: got a tensor of shape \\[2, 52\\]"),
        ("name", "ShapeMismatch.* for b to be cut"),
        ("no name", "InvalidArgument: got names=.*wanted a list of the batch's: a"),
        ("nothing", "ShapeMismatch: got tensors .*wanted at least one of 53 tokens"),
        ("kind", "InvalidArgument: got a batch of type str"),
        ("positions", "InvalidArgument: got positions=True and a Tensor"),
        ("rows", "ShapeMismatch: got 3 batch rows; wanted 2"),
        ("share", "ShapeMismatch: got a share of shape \\[2, 53\\]"),
        ("dim", "ShapeMismatch: got a share"),
        ("losses", "ShapeMismatch: got losses of shape \\[2, 53\\]"),
        ("logits", "ShapeMismatch: got logits of shape"),
    ],
)
def test_what_does_not_fit_is_refused(two_ranks: RankPool, what: str, told: str) -> None:
    for message in two_ranks.run(refused, what):
        assert re.match(told, message), message


# -- labels ----------------------------------------------------------------------------------------


def test_labels_are_the_next_tokens_of_the_same_document() -> None:
    tokens = torch.arange(1, 15).view(2, 7)
    labels = sl.distributed.next_token_labels(tokens, ignore_index=-1)
    assert labels.tolist() == [[2, 3, 4, 5, 6, 7, -1], [9, 10, 11, 12, 13, 14, -1]]
    mask = sl.causal() & sl.documents(lengths=[[3, 4], [1, 6]])
    labels = sl.distributed.next_token_labels(tokens, mask=mask, ignore_index=-1)
    assert labels.tolist() == [[2, 3, -1, 5, 6, 7, -1], [-1, 10, 11, 12, 13, 14, -1]]
    real = sl.padding(lengths=[5, 7])
    labels = sl.distributed.next_token_labels(tokens, mask=mask, valid=real, ignore_index=-1)
    assert labels.tolist() == [[2, 3, -1, 5, -1, -1, -1], [-1, 10, 11, 12, 13, 14, -1]]
    heads = sl.per_head([sl.causal(), sl.nothing()])
    assert sl.distributed.next_token_labels(tokens, mask=heads)[0, 0] == 2
    assert sl.distributed.next_token_labels(tokens[:, :1]).tolist() == [[-100], [-100]]


def test_labels_of_other_things_are_refused() -> None:
    with pytest.raises(sl.InvalidArgument, match=r"float32"):
        sl.distributed.next_token_labels(torch.zeros(2, 3))
    with pytest.raises(sl.ShapeMismatch, match=r"tokens\[None\]"):
        sl.distributed.next_token_labels(torch.zeros(3, dtype=torch.int64))
    mask = sl.documents(lengths=[[3], [3]])
    with pytest.raises(sl.ShapeMismatch, match="a mask for 2"):
        sl.distributed.next_token_labels(torch.zeros(3, 3, dtype=torch.int64), mask=mask)


# -- losses ----------------------------------------------------------------------------------------


def drawn_labels(few: bool) -> torch.Tensor:
    made = torch.randint(0, 7, (2, LENGTH), generator=torch.Generator().manual_seed(2))
    made[:, : LENGTH - 3 if few else 5] = -100
    return made


def shared_loss(few: bool, smoothing: float, dtype: torch.dtype) -> list[torch.Tensor]:
    spread = uneven()
    logits = numbers(2, LENGTH, 7).to(dtype)
    labels = drawn_labels(few)
    logits[labels == -100] = torch.nan
    share, own = sl.distributed.shard_batch((logits, labels), spread)
    share.requires_grad_()
    loss = sl.distributed.cross_entropy(share, own, spread, label_smoothing=smoothing)
    loss.backward()
    grad = sl.distributed.unshard(share.grad, spread) / spread.ranks.size
    losses = share.detach().float().square().sum(2).requires_grad_()
    real: Any = own != -100
    if few:
        real = sl.padding(valid=(labels != -100).numpy())  # says it of the whole sequence
    with sl.distributed.context_parallel(spread):  # labels of the whole batch, made inside
        inside = sl.distributed.next_token_labels(labels, valid=sl.padding(lengths=[9, 50]))
    assert bool((inside[0, 8:] == -100).all())
    mean = sl.distributed.mean_loss(losses, real, spread)
    mean.backward()
    return [
        sl.distributed.mean_over_ranks(loss, spread),
        grad,
        sl.distributed.mean_over_ranks(mean, spread),
        sl.distributed.unshard(losses.grad, spread) / spread.ranks.size,
    ]


@pytest.mark.parametrize("few", [False, True], ids=["many labels", "none on some ranks"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_mean_over_ranks_is_the_loss(
    ranks: RankPool, few: bool, smoothing: float, dtype: torch.dtype
) -> None:
    labels = drawn_labels(few)
    logits = numbers(2, LENGTH, 7).to(dtype).requires_grad_()
    wanted = torch.nn.functional.cross_entropy(
        logits.float().transpose(1, 2), labels, label_smoothing=smoothing
    )
    wanted.backward()
    losses = logits.detach().float().square().sum(2).requires_grad_()
    mean = losses[labels != -100].mean()
    mean.backward()
    for found in ranks.run(shared_loss, few, smoothing, dtype):
        for got, want in zip(found, [wanted, logits.grad, mean, losses.grad], strict=True):
            torch.testing.assert_close(got, want)


def no_labels() -> list[torch.Tensor]:
    spread = uneven()
    share = torch.full((2, spread.length, 4), torch.nan, requires_grad=True)
    labels = torch.full((2, spread.length), -100)
    loss = sl.distributed.cross_entropy(share, labels, spread)
    loss = loss + sl.distributed.mean_loss(share, labels != -100, spread)
    loss.backward()
    assert share.grad is not None
    return [loss.detach(), share.grad.abs().sum()]


def test_without_a_label_the_loss_is_0(ranks: RankPool) -> None:
    for found in ranks.run(no_labels):
        assert [float(each) for each in found] == [0.0, 0.0]


def a_wrong_label() -> str:
    spread = uneven()
    labels = torch.zeros(2, spread.length, dtype=torch.int64)
    if spread.ranks.rank == 1:
        labels[1, 2] = 9
    with pytest.raises(sl.InvalidArgument) as caught:
        sl.distributed.cross_entropy(torch.zeros(2, spread.length, 4), labels, spread)
    return str(caught.value)


def test_a_wrong_label_on_one_rank_stops_all(ranks: RankPool) -> None:
    told = ranks.run(a_wrong_label)
    assert told[1].startswith("got 9 as a label; wanted 0 to 3")
    assert told[0].startswith("got another rank's as a label")
