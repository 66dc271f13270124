"""The laws of documents, padding, prefixes and chunks: by hand, by the oracle, by random search.

That they agree with each other in every order is tested with the other laws, in test_mask_laws.py.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sightline as sl
from sightline import reference
from sightline.masks import data_rules, padding_sets
from sightline.masks.data import PrefixLM, Segments
from sightline.masks.nodes import And, Not, Nothing, Or
from sightline.masks.padding import Padding, ValidKeys
from sightline.masks.periodic import BlockCausal, Chunks
from sightline.testing.specs import build
from sightline.testing.strategies import Frame, atoms, frames

often = settings(max_examples=4 * settings().max_examples)

# What is written, and the one mask or the shorter expression that it is.
RULES = """
documents([5, 3]) & documents([2, 6])            = documents([2, 3, 3])
documents([5, 3]) & documents([2, 2])            = documents([2, 2])
documents([[4, 4], [2, 2]]) & documents([3, 5])  = documents([[3, 1, 4], [2, 1, 1]])
documents([[4, 4], [3, 2]]) & documents([8])     = documents([[4, 4], [3, 2]])
documents([2, 2]) & documents([[2, 2], [2, 2]])  = documents([[2, 2], [2, 2]])
documents(ids=[0, 1, 0, 1]) & documents([2, 2])  = documents([1, 1, 1, 1])
documents(ids=[0, 1, 0, 1]) & spans([0, 1, 0, 0]) = spans([0, 1, 0, 2])
documents(ids=[0, 1, 0]) & spans([3, -1, 3])     = spans([0, -1, 0])
spans([0, 0, -1, -1, 0]) & spans([1, -1, -1, 1, 1]) = spans([0, -1, -1, -1, 0])
spans([0, -1, 0]) & spans([-1, 0, -1])           = nothing()
documents([2, 2]) | documents([4])               = documents([4])
documents([2]) | documents([2, 3])               = documents([2, 3])
documents([2, 2]) - documents([4])               = nothing()
documents([2, 2]) & ~documents([4]).T            = nothing()
~documents([2, 2]) & ~documents([4])             = ~documents([4])
documents([5, 3]) & chunks(2)                    = documents([2, 2, 1, 1, 2])
documents([4, 4]) & chunks(2)                    = documents([2, 2, 2, 2])
documents([4, 4]) & chunks(4)                    = documents([4, 4])
documents([[4, 3], [7]]) & chunks(4)             = documents([[4, 3], [4, 3]])
documents(ids=[0, 1, 0, 1]) & chunks(2)          = documents([1, 1, 1, 1])
spans([-1, 0, 0, 0, -1, 1]) & chunks(3)          = spans([-1, 0, 0, 1, -1, 2])
documents([5, 3]) & chunks(2) & chunks(3)        = documents([2, 1, 1, 1, 1, 2])
documents([4, 2, 2]) | chunks(4)                 = chunks(4)
documents([4, 2]) - chunks(4)                    = nothing()
documents([4, 2]) & block_causal(4)              = documents([4, 2])
documents([4, 2]) & block_causal(4).T            = documents([4, 2])
padding([3, 5]) & padding([4, 2])                = padding([3, 2])
padding([3, 5]) | padding([4, 2])                = padding([4, 5])
padding([3, 5]).T & padding([4, 2]).T            = padding([3, 2]).T
~padding([3, 5]) & ~padding([4, 2])              = ~padding([4, 5])
padding([3, 2]) - padding([4, 2])                = nothing()
padding([3, 5]) & padding([2, 3], side="left", total=4) = \
    padding(valid=[[0, 0, 1, 0], [0, 1, 1, 1]])
padding([3, 5]) | padding([2, 3], side="left", total=4) = padding([4, 5])
padding([2, 1]) | padding([1, 1], side="left", total=4) = \
    padding(valid=[[1, 1, 0, 1], [1, 0, 0, 1]])
padding([2, 2]) & padding([1, 1], side="left", total=4) = padding([0, 0])
padding([2, 2]) | padding([1, 1], side="left", total=4) = \
    padding(valid=[[1, 1, 0, 1], [1, 1, 0, 1]])
padding([2, 3]) | padding([2, 2], side="left", total=4) = padding([4, 4])
padding([0, 2]) | padding([1, 2], side="left", total=4) = \
    padding(valid=[[0, 0, 0, 1], [1, 1, 1, 1]])
padding(valid=[1, 0, 1]) & padding(2)            = padding(1)
padding(valid=[1, 0, 1, 1]) & padding(valid=[1, 1, 0, 1, 1]) = padding(valid=[1, 0, 0, 1])
padding(valid=[1, 0, 1]) | padding(valid=[0, 1]) = padding(3)
padding(valid=[1, 0, 1]) | padding(2)            = padding(3)
padding(valid=[1, 0, 1]) - padding(valid=[1, 0, 1, 1]) = nothing()
padding([0, 1]) - padding([1, 2], side="left", total=2) = nothing()
chunks(2) & chunks(4)                            = chunks(2)
chunks(2) | chunks(4)                            = chunks(4)
chunks(2) - chunks(6)                            = nothing()
chunks(2) & block_causal(4)                      = chunks(2)
chunks(2) | block_causal(4)                      = block_causal(4)
chunks(2) & block_causal(4).T                    = chunks(2)
block_causal(2) & block_causal(6)                = block_causal(2)
block_causal(2) | block_causal(6)                = block_causal(6)
causal() & block_causal(4)                       = causal()
causal() | block_causal(4)                       = block_causal(4)
window(left=2, right=0) | block_causal(4)        = block_causal(4)
causal().T & block_causal(4).T                   = causal().T
block_causal(2) | window(2, 2)                   = block_causal(2) | window(right=2)
block_causal(2).T | window(2, 2)                 = block_causal(2).T | window(left=2)
block_causal(2) | window(left=0)                 = everything()
block_causal(2) | block_causal(3).T              = everything()
window(3, 3) - block_causal(2)                   = ~causal() & window(right=3) - block_causal(2)
block_causal(2) - block_causal(3).T              = ~block_causal(3).T
prefix_lm(2) - block_causal(3).T                 = ~block_causal(3).T
causal() & prefix_lm(3)                          = causal()
causal() | prefix_lm([3, 4])                     = prefix_lm([3, 4])
causal().T & prefix_lm(3).T                      = causal().T
prefix(2) & prefix_lm([3, 2])                    = prefix(2)
prefix(2) | prefix_lm([3, 2])                    = prefix_lm([3, 2])
queries([0, 1]) & prefix_lm(2).T                 = queries([0, 1])
queries([0, 1]) | prefix_lm(2).T                 = prefix_lm(2).T
prefix(2) - prefix_lm(2)                         = nothing()
prefix(5) & prefix_lm([3, 7])                    = prefix(5) & prefix_lm([3, 5])
queries(slice(5)) & prefix_lm([3, 7]).T          = queries(slice(5)) & prefix_lm([3, 5]).T
prefix(5) - prefix_lm(3)                         = keys([3, 4]) - prefix_lm(3)
prefix_lm([3, 7]) & prefix_lm([4, 2])            = prefix_lm([3, 2])
prefix_lm([3, 7]) | prefix_lm([4, 2])            = prefix_lm([4, 7])
~prefix_lm([3, 7]) & ~prefix_lm([4, 2])          = ~prefix_lm([4, 7])
prefix_lm([3, 7]).T & prefix_lm([4, 2]).T        = prefix_lm([3, 2]).T
prefix_lm([3, 2]) - prefix_lm([3, 7])            = nothing()
(documents([2, 2]) | dilated(3)) & documents([1, 3, 1]) & documents([4]) = \
    (documents([2, 2]) | dilated(3)) & documents([1, 3])
(documents([4]) | dilated(3)) & documents([2, 2]) = documents([2, 2])
(~padding([3, 4]) | dilated(3)) & padding([3, 2]) = dilated(3) & padding([3, 2])
"""

# These hold no law, or one that would spoil another.
STAY = [
    "chunks(4) & chunks(6)",
    "chunks(4) | chunks(6)",
    "block_causal(2) & chunks(4)",
    "block_causal(4) & block_causal(6)",
    "causal() & block_causal(4).T",
    "causal() & prefix_lm(3).T",
    "window(left=0, right=0) & chunks(2)",
    "window(right=1) & block_causal(2)",
    "window(right=1) & prefix_lm(3)",
    "prefix(3) & prefix_lm(2)",
    "queries(range(0, 2)) & prefix_lm(2)",
    "~documents(lengths=[2]) & documents(lengths=[4])",
    "documents(lengths=[2, 2]) | documents(lengths=[1, 3])",
    "documents(lengths=[4]) | chunks(2)",
    "documents(lengths=[[3, 1], [1]]) | documents(lengths=[[3], [4]])",
    "spans([0, -1, 0, 0]) | spans([0, 0, 1])",
    "documents(lengths=[2]) | spans([-1, 0, 0])",
    "documents(lengths=[2]) | spans([-1, -1, 0])",
    "documents(lengths=[2, 2]) | documents(lengths=[[2, 2], [1, 3]])",
    "spans([0, 1, 0]) | chunks(2)",
    "documents(lengths=[1, 2]) | chunks(2)",
    "padding([3]) & padding([3, 5])",
    "padding([3]) | padding([3, 5])",
    "padding([3, 5]) & padding([4, 2]).T",
    "padding([3, 5]) & ~padding([4, 2])",
    "prefix_lm([3]) & prefix_lm([3, 5])",
]


def rules() -> list[list[str]]:
    lines = RULES.replace("\\\n", "").strip().splitlines()
    return [[side.strip() for side in line.split(" = ")] for line in lines]


def read(text: str) -> sl.Mask:
    return sl.parse(text)


def same_cells(left: sl.Mask, right: sl.Mask, frame: Frame) -> None:
    shape = (frame.batch, frame.heads, frame.q_len, frame.kv_len)
    cells = [np.broadcast_to(mask.dense(*frame.at), shape) for mask in (left, right)]
    np.testing.assert_array_equal(*cells, f"{left!r} and {right!r}")


@pytest.mark.parametrize(("written", "wanted"), rules())
def test_a_rule_by_hand(written: str, wanted: str) -> None:
    got, mask = read(written), read(wanted)
    assert got == mask
    assert got.text() == mask.text()
    # Whatever is said of the two, a mask of neither kind beside them hides no law.
    assert got & sl.tree([-1, 0]) == mask & sl.tree([-1, 0])
    assert sl.tree([-1, 0]) | got == mask | sl.tree([-1, 0])


@pytest.mark.parametrize("text", STAY)
def test_what_stays_as_written(text: str) -> None:
    mask = read(text)
    assert isinstance(mask, (And, Or))
    assert len(mask.parts) == 2
    assert read(mask.text()) == mask


# -- every rule, on random data, against the oracle ------------------------------------------------

DOCUMENTS, PADDING = ("documents", "spans"), ("padding",)
PAIRS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str, Any]] = {
    "documents & documents": (DOCUMENTS, DOCUMENTS, "and", (Segments, Nothing)),
    "documents & chunks": (DOCUMENTS, ("chunks",), "and", (Segments, And, Nothing)),
    "documents & block_causal": (DOCUMENTS, ("block_causal",), "and", object),
    "documents | documents": (DOCUMENTS, DOCUMENTS, "or", object),
    "documents | chunks": (DOCUMENTS, ("chunks",), "or", object),
    "padding & padding": (PADDING, PADDING, "and", (Padding, ValidKeys, And)),
    "padding | padding": (PADDING, PADDING, "or", (Padding, ValidKeys, Or)),
    "chunks & block_causal": (("chunks", "block_causal"),) * 2 + ("and", object),
    "chunks | block_causal": (("chunks", "block_causal"),) * 2 + ("or", object),
    "window & chunks": (("window", "causal"), ("chunks", "block_causal"), "and", object),
    "window | chunks": (("window", "causal"), ("chunks", "block_causal"), "or", object),
    "prefix_lm & prefix_lm": (("prefix_lm",), ("prefix_lm",), "and", (PrefixLM, And)),
    "prefix_lm | prefix_lm": (("prefix_lm",), ("prefix_lm",), "or", (PrefixLM, Or)),
    "keys & prefix_lm": (("keys", "prefix", "window"), ("prefix_lm",), "and", object),
    "keys | prefix_lm": (("keys", "prefix", "window"), ("prefix_lm",), "or", object),
}


@pytest.mark.parametrize("pair", PAIRS)
@given(data=st.data())
def test_a_rule_by_the_oracle(pair: str, data: st.DataObject) -> None:
    one, other, connective, kinds = PAIRS[pair]
    frame = data.draw(frames(longest=12))
    a, b = (
        data.draw(st.sampled_from(names).flatmap(lambda n: atoms(n, frame)))
        for names in (one, other)
    )
    if data.draw(st.booleans()):
        a = ("not", a)
    elif data.draw(st.booleans()):
        b = ("not", b)
    else:
        assert isinstance(build((connective, a, b)), kinds)
    if data.draw(st.booleans()):
        a, b = ("transpose", a), ("transpose", b)
    for spec in ((connective, a, b), (connective, b, a)):
        mask, wanted = build(spec), reference.dense(spec, *frame.at)
        full = np.broadcast_shapes(wanted.shape, (mask.batch, mask.heads, 1, 1))
        got = np.broadcast_to(mask.dense(*frame.at), full)
        np.testing.assert_array_equal(got, np.broadcast_to(wanted, full), f"{spec} built {mask!r}")


# -- a random search for counter-examples ----------------------------------------------------------

LETTERS: list[Callable[[], sl.Mask]] = [
    sl.causal,
    lambda: sl.window(1, 3),
    lambda: sl.prefix(4),
    lambda: sl.keys([0, 5]),
    lambda: sl.queries([0, 1]),
    lambda: sl.chunks(2),
    lambda: sl.chunks(4),
    lambda: sl.block_causal(2),
    lambda: sl.block_causal(3),
    lambda: sl.padding([3, 5]),
    lambda: sl.padding([3]),
    lambda: sl.padding([0, 0]),
    lambda: sl.padding([2, 3], side="left", total=6),
    lambda: sl.padding(valid=[[1, 0, 1, 0, 1], [0, 1, 1, 1, 1]]),
    lambda: sl.documents([2, 3]),
    lambda: sl.documents([[1, 3, 2], [2, 2, 2]]),
    lambda: sl.documents(ids=[0, 1, 0, 1, 2, 2]),
    lambda: sl.spans([[-1, 0, 0, -1, 1, 0], [0, 0, -1, -1, 1, 1]]),
    lambda: sl.prefix_lm(3),
    lambda: sl.prefix_lm([5, 2]),
]
FRAME = Frame(5, 9, 2, 0, 2, 1)
Word = tuple[sl.Mask, np.ndarray]  # a mask, and its cells by numpy from those of its letters


def letter(made: tuple[Callable[[], sl.Mask], bool, bool]) -> Word:
    make, negated, swapped = made
    mask = make().T if swapped else make()
    shape = (FRAME.batch, FRAME.heads, FRAME.q_len, FRAME.kv_len)
    cells = np.broadcast_to(mask.dense(*FRAME.at), shape)
    return (~mask, ~cells) if negated else (mask, cells)


def combined(each: tuple[Callable[[Any, Any], Any], Word, Word]) -> Word:
    combine, (a, a_cells), (b, b_cells) = each
    return combine(a, b), combine(a_cells, b_cells)


letters = st.tuples(st.sampled_from(LETTERS), st.booleans(), st.booleans()).map(letter)
SIGNS = [operator.and_, operator.or_, operator.xor]
words = st.recursive(
    letters,
    lambda word: st.tuples(st.sampled_from(SIGNS), word, word).map(combined),
    max_leaves=6,
)


@often
@given(words)
def test_no_counter_example_is_found(word: Word) -> None:
    mask, cells = word
    got = np.broadcast_to(mask.dense(*FRAME.at), cells.shape)
    np.testing.assert_array_equal(got, cells, repr(mask))
    assert sl.parse(mask.text()) == mask


@often
@given(st.lists(letters, min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_the_rules_agree_in_any_order(each: list[Word], random: Any) -> None:
    masks = [mask for mask, _ in each]
    for sign in (operator.and_, operator.or_):
        wanted = functools.reduce(sign, masks)
        rest = list(masks)
        while len(rest) > 1:
            random.shuffle(rest)
            rest.append(sign(rest.pop(), rest.pop()))
        assert rest[0] == wanted


# -- limits ----------------------------------------------------------------------------------------


def test_no_large_table_is_made_of_paddings(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = sl.padding([2, 1]), sl.padding([1, 1], side="left", total=4)
    monkeypatch.setattr(padding_sets, "MOST_CELLS", 8)
    assert isinstance(a | b, ValidKeys)
    monkeypatch.setattr(padding_sets, "MOST_CELLS", 7)
    assert isinstance(a | b, Or)
    assert isinstance(~a & ~b, And)
    same_cells(a | b, ~(~a & ~b), Frame(2, 6, 0, 0, 2, 1))
    # One run in every row is no table, however long.
    long = sl.padding([2**40, 1]) | sl.padding([1, 2**40])
    assert long == sl.padding([2**40, 2**40])
    assert long | sl.padding([1, 1], side="left", total=2**40 + 1) == sl.padding([2**40 + 1] * 2)
    last = sl.padding([1, 1], side="left", total=2**40)
    assert sl.padding([0, 2**40]) | last == sl.padding([1, 2**40], side="left", total=2**40)


def test_long_documents_are_not_cut_into_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_rules, "MOST_CHUNKS", 4)
    cut, whole = sl.documents([8]) & sl.chunks(2), sl.documents([9]) & sl.chunks(2)
    assert cut == sl.documents([2, 2, 2, 2])
    assert isinstance(whole, And)
    assert whole & sl.documents([8]) == cut
    # What is in one chunk anyway needs no cut.
    assert sl.documents([2, 2, 2, 2, 1]) & sl.chunks(2) == sl.documents([2, 2, 2, 2, 1])
    assert sl.documents([3]) & sl.chunks(2) & sl.chunks(6) == sl.documents([2, 1])


def test_documents_are_never_spread_over_their_positions() -> None:
    long = sl.documents([2**30, 2**30 - 1])
    assert long & sl.documents([2**29, 2**30]) == sl.documents([2**29, 2**29, 2**29])
    assert long & sl.documents([2**31 - 1]) == long
    assert long | sl.documents([2**31 - 1]) == sl.documents([2**31 - 1])
    assert long & sl.chunks(2**30) == long


def test_many_parts_are_merged_but_not_compared() -> None:
    chunks = [sl.chunks(n) for n in range(2, 68)]
    together = functools.reduce(operator.or_, chunks, sl.padding([3, 5]) | sl.padding([4, 2]))
    assert sl.padding([4, 5]) & together == sl.padding([4, 5])
    assert isinstance(together, Or)
    assert sl.padding([4, 5]) in together.parts


def test_the_kinds_that_the_laws_know_are_tested_here() -> None:
    named = {Segments, Padding, ValidKeys, PrefixLM, Chunks, BlockCausal}
    assert set(data_rules.DATA_ATOMS) == named
    drawn = {type(part.part if isinstance(part, Not) else part) for part in (m() for m in LETTERS)}
    assert named <= drawn
