"""Masks in words: every atom has a sentence that names its numbers, operators join them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given

import sightline as sl
from sightline.masks.names import NAMES
from sightline.testing.specs import build
from sightline.testing.strategies import expressions, frames
from sightline.views.reasons.sentences import SENTENCES, in_words


@given(frames().flatmap(lambda frame: expressions(frame, depth=3)))
def test_every_expression_can_be_told(spec: Any) -> None:
    lines = in_words(build(spec))
    assert lines[0].depth == 0
    for before, line in pairwise(lines):
        assert 1 <= line.depth <= before.depth + 1
    for line in lines:
        assert line.words
        assert line.expression
        assert not line.words.endswith(".")
        assert "None" not in line.words
        assert "\n" not in line.words


def test_only_named_masks_have_sentences() -> None:
    assert set(SENTENCES) <= set(NAMES)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (sl.causal(strict=True), "a query sees all before it, not itself"),
        (sl.window(2, 1), "itself and the 2 keys before it and the 1 key after it: at most 4 keys"),
        (sl.window(0, 0), "a query sees itself: at most 1 key"),
        (sl.window(left=3), "a query sees itself and the 3 keys before it and all after it"),
        (sl.prefix(1), "only the first 1 key is seen, by all queries"),
        (sl.prefix(2), "only the first 2 keys are seen, by all queries"),
        (sl.keys(range(2, 5)), "only the keys at 2 to 4 are seen"),
        (sl.padding(lengths=[3, 2], side="left"), "the last 3, 2 of the batch rows"),
        (sl.documents(lengths=[3, 2]), "their lengths are 3, 2"),
        (sl.documents(lengths=[[3], [1, 2]]), "its own document of those packed into a row"),
        (sl.chunks(4), "its own chunk of 4 positions"),
        (sl.permutation([1, 0], stream="query"), "earlier in a given order"),
        (sl.log_sparse_row_mask(4, 8), "LogSparse as the widely copied"),
        (sl.padding(lengths=list(range(1, 40))), "10, 11, 12, ... of the batch rows"),
    ],
)
def test_numbers_are_named(mask: sl.Mask, words: str) -> None:
    (line,) = in_words(mask)
    assert words in line.words


def test_operators_are_told_with_their_parts_below() -> None:
    mask = sl.per_head([sl.causal() & ~sl.chunks(3), sl.chunks(2).shift(query=1)])
    assert [(line.depth, line.expression) for line in in_words(mask)] == [
        (0, "per_head([causal() & ~chunks(3), chunks(2).shift(query=1)])"),
        (1, "causal() & ~chunks(3)"),
        (2, "causal()"),
        (2, "~chunks(3)"),
        (3, "chunks(3)"),
        (1, "chunks(2).shift(query=1)"),
        (2, "chunks(2)"),
    ]
