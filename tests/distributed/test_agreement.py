"""Ranks that are told different things, or are at different calls, say so before data moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import sightline as sl
from sightline.distributed.agreement import agree, fingerprint
from sightline.testing.ranks import RankPool

LENGTH, BLOCK = 64, 8
ODD = 1
Said = tuple[str, tuple[int, ...], str]

MASKS = sl.causal(), sl.window(left=9, right=0)
LONG = [sl.documents(lengths=[each] * (LENGTH // each)) & sl.causal() for each in (2, 1)]


def said_by(function: Any) -> Said:
    try:
        function()
    except sl.SightlineError as error:
        return type(error).__name__, getattr(error, "ranks", ()), str(error)
    return "", (), ""


def tensors(spread: Any, odd: str) -> list[torch.Tensor]:
    dtype = torch.float64 if odd == "dtype" else torch.float32
    heads = 4 if odd == "query" else 2
    dim = 3 if odd == "value" else 4
    batch = 3 if odd == "batch" else 2
    cut = spread.length - (1 if odd == "share" else 0)
    shapes = (heads, 4), (2, 4), (2, dim)
    made = [torch.randn(batch, h, cut, d, dtype=dtype) for h, d in shapes]
    return [each.requires_grad_(odd != "gradients") for each in made]


def differ(what: str) -> Said:
    spread = sl.distributed.spread(sl.causal(), LENGTH, block=BLOCK)
    odd = what if spread.ranks.rank == ODD else ""
    mask = LONG[odd != ""] if what == "long mask" else MASKS[odd == "mask"]
    query, key, value = tensors(spread, odd)
    options: dict[str, Any] = {"engine": "reference"} if odd == "engine" else {}
    options |= {"scale": 0.5} if odd == "scale" else {}
    options |= {"dropout": 0.1} if odd == "dropout" else {}
    said = said_by(lambda: sl.distributed.attend(query, key, value, mask, spread=spread, **options))
    # Nothing is broken: the same ranks go on together.
    query, key, value = tensors(spread, "")
    sl.distributed.attend(query, key, value, sl.causal(), spread=spread, engine="reference")
    return said


FACTS = {
    "mask": "mask: causal() on ranks 0, 2 and 3, window(left=9, right=0) on rank 1",
    "long mask": "mask: ",
    "dtype": "dtype: 'torch.float32' on ranks 0, 2 and 3, 'torch.float64' on rank 1",
    "query": "query: (2, 2, 4) on ranks 0, 2 and 3, (2, 4, 4) on rank 1",
    "value": "value: (2, 2, 4) on ranks 0, 2 and 3, (2, 2, 3) on rank 1",
    "batch": "key: (2, 2, 4) on ranks 0, 2 and 3, (3, 2, 4) on rank 1",
    "share": "tokens beyond the share: (0, 0) on ranks 0, 2 and 3, (-1, -1) on rank 1",
    "gradients": "gradients: True on ranks 0, 2 and 3, False on rank 1",
    "scale": "scale: None on ranks 0, 2 and 3, 0.5 on rank 1",
    "dropout": "dropout: 0.0 on ranks 0, 2 and 3, 0.1 on rank 1",
    "engine": "engine: 'auto' on ranks 0, 2 and 3, 'reference' on rank 1",
}


@pytest.mark.parametrize("what", FACTS)
def test_one_of_four_that_differs_is_named_with_what_differs(
    four_ranks: RankPool, what: str
) -> None:
    for kind, ranks, text in four_ranks.run(differ, what):
        assert (kind, ranks) == ("RanksDisagree", (ODD,)), text
        assert FACTS[what] in text
        assert len(text) < 700


def test_of_two_that_differ_both_are_named(two_ranks: RankPool) -> None:
    for kind, ranks, text in two_ranks.run(differ, "mask"):
        assert (kind, ranks) == ("RanksDisagree", (0, 1))
        assert "causal() on rank 0, window(left=9, right=0) on rank 1" in text


def differ_in_spread(what: str) -> Said:
    odd = sl.distributed.Ranks.of().rank == ODD
    length = LENGTH * 2 if odd and what == "length" else LENGTH
    block = BLOCK // 2 if odd and what == "block" else BLOCK
    mask = MASKS[odd and what == "mask"]
    return said_by(lambda: sl.distributed.spread(mask, length, block=block))


@pytest.mark.parametrize("what", ["length", "block", "mask"])
def test_ranks_that_spread_differently_are_named(four_ranks: RankPool, what: str) -> None:
    for kind, ranks, text in four_ranks.run(differ_in_spread, what):
        assert (kind, ranks) == ("RanksDisagree", (ODD,)), text
        assert f"{what}: " in text


def differ_in_order(what: str) -> Said:
    spread = sl.distributed.spread(sl.causal(), LENGTH, block=BLOCK)
    odd = spread.ranks.rank == ODD
    query, key, value = tensors(spread, "")

    def forward() -> torch.Tensor:
        return sl.distributed.attend(query, key, value, sl.causal(), spread=spread)

    def run() -> None:
        output = forward()
        if not (odd and what == "layer"):
            output = output + forward()
        if not (odd and what == "backward"):
            output.sum().backward()
        sl.distributed.unshard(output, spread, dim=2)

    return said_by(run)


@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("layer", "sl.distributed.attend on ranks 0, 2 and 3, the backward pass of"),
        (
            "backward",
            "pass of sl.distributed.attend on ranks 0, 2 and 3, sl.distributed.unshard on",
        ),
    ],
)
def test_a_rank_that_skips_a_step_is_named(four_ranks: RankPool, what: str, call: str) -> None:
    for kind, ranks, text in four_ranks.run(differ_in_order, what):
        assert (kind, ranks) == ("RanksDisagree", (ODD,)), text
        assert call in text
        assert "fingerprint" not in text


def differ_in_name() -> Said:
    ranks = sl.distributed.Ranks.of()
    return said_by(lambda: agree(ranks, "this" if ranks.rank == ODD else "that", {}))


def test_calls_of_the_same_facts_are_told_apart(four_ranks: RankPool) -> None:
    for kind, ranks, text in four_ranks.run(differ_in_name):
        assert (kind, ranks) == ("RanksDisagree", (ODD,))
        assert "call: that on ranks 0, 2 and 3, this on rank 1" in text


def fingerprints() -> list[str]:
    rng = np.random.default_rng(5)
    masks = [
        sl.causal() & sl.documents(ids=rng.integers(0, 3, (2, 40)).cumsum(axis=1)),
        sl.dense(rng.random((7, 9)) > 0.5, means="attend"),
        sl.per_head([sl.causal(), sl.window(left=3)]),
        sl.predicate(sees),
    ]
    return [fingerprint(each) for each in masks]


def sees(batch: Any, head: Any, query: Any, key: Any) -> Any:
    return (key <= query) & ((key % 3) == 0)


def test_a_fingerprint_is_the_same_in_every_process(two_ranks: RankPool) -> None:
    own = fingerprints()
    assert two_ranks.run(fingerprints) == [own, own]
    assert len(set(own)) == len(own)


def test_a_fingerprint_tells_data_and_code_apart() -> None:
    lengths = np.full(50_000, 2)
    other = lengths.copy()
    other[-2:] = 1, 3
    one, two = (sl.documents(lengths=each) for each in (lengths, other))
    assert repr(one)[:100] == repr(two)[:100]
    assert fingerprint(one) != fingerprint(two)
    assert fingerprint(sl.predicate(sees)) != fingerprint(sl.predicate(lambda b, h, q, k: k <= q))
    assert fingerprint(sl.window(left=3)) != fingerprint(sl.window(right=3))
    assert fingerprint((1, "1")) != fingerprint((1, 1))
