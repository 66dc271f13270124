"""``sl.Batch``: tokens, mask and positions made together, from layout to layout and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl

SIDES = ("right", "left", "packed")
# Masks over one sequence's positions: some look at distances only, some at the positions.
MASKS = (
    sl.everything(),
    sl.causal(),
    sl.window(left=2, right=1),
    sl.causal() & sl.chunks(3),
    sl.prefix(2) | sl.causal(),
    sl.dilated(2) & sl.causal(),
    sl.keys([1, 4]) | sl.queries([0]),
    sl.nothing(),
)
LENGTHS = st.lists(st.integers(0, 6), min_size=1, max_size=4).filter(any)


def columns(lengths: list[int], side: str) -> list[list[int]]:
    """Where each sequence's tokens stand in a row, in plain words."""
    longest, total, found = max(lengths), 0, []
    for length in lengths:
        start = {"right": 0, "left": longest - length, "packed": total}[side]
        found.append(list(range(start, start + length)))
        total += length
    return found


def drawn(masks: list[sl.Mask], lengths: list[int], side: str) -> np.ndarray:
    """What ``place`` has to give at the queries that are tokens, from each sequence by itself."""
    rows = 1 if side == "packed" else len(lengths)
    width = sum(lengths) if side == "packed" else max(lengths)
    allowed = np.zeros((rows, width, width), dtype=bool)
    for i, (spots, length, mask) in enumerate(
        zip(columns(lengths, side), lengths, masks, strict=True)
    ):
        own = mask.dense(length, length)[0, 0] if length else np.zeros((0, 0), dtype=bool)
        allowed[0 if side == "packed" else i][np.ix_(spots, spots)] = own
    return allowed


def at_tokens(mask: sl.Mask, batch: sl.Batch) -> np.ndarray:
    found = mask.dense(batch.length, batch.length)[:, 0]
    found = np.broadcast_to(found, (batch.rows, *found.shape[1:]))
    return found & batch.valid.numpy()[:, :, None]


@given(lengths=LENGTHS, side=st.sampled_from(SIDES), which=st.sampled_from(MASKS))
def test_a_mask_is_placed_as_each_sequence_has_it(lengths, side, which) -> None:
    batch = sl.Batch.from_lengths(lengths, side=side)
    wanted = drawn([which] * len(lengths), lengths, side)
    np.testing.assert_array_equal(at_tokens(batch.place(which), batch), wanted)


@given(data=st.data(), lengths=LENGTHS, side=st.sampled_from(SIDES))
def test_each_sequence_may_have_a_mask_of_its_own(data, lengths, side) -> None:
    masks = [data.draw(st.sampled_from(MASKS)) for _ in lengths]
    batch = sl.Batch.from_lengths(lengths, side=side)
    np.testing.assert_array_equal(at_tokens(batch.place(masks), batch), drawn(masks, lengths, side))


@given(lengths=LENGTHS, side=st.sampled_from(SIDES))
def test_the_mask_keeps_sequences_apart(lengths, side) -> None:
    batch = sl.Batch.from_lengths(lengths, side=side)
    wanted = drawn([sl.everything()] * len(lengths), lengths, side)
    np.testing.assert_array_equal(at_tokens(batch.mask, batch), wanted)


def test_a_mask_that_looks_at_distances_stays_short() -> None:
    left = sl.Batch.from_lengths([3, 5], side="left")
    assert left.place(sl.causal()) == sl.causal() & sl.padding(lengths=[3, 5], side="left")
    packed = sl.Batch.from_lengths([3, 5], side="packed")
    assert packed.place(sl.window(left=2)) == sl.window(left=2) & sl.documents(lengths=[3, 5])


@given(lengths=LENGTHS, side=st.sampled_from(SIDES), to=st.sampled_from(SIDES))
def test_from_layout_to_layout_and_back(lengths, side, to) -> None:
    width = 2
    sequences = [torch.randn(length, width) for length in lengths]
    batch = sl.Batch.from_sequences(sequences, side=side, pad=torch.nan)
    other = batch.packed() if to == "packed" else batch.padded(to, pad=-7.0)
    assert other.side == to
    for got, own, where in zip(other.sequences(), sequences, columns(lengths, to), strict=True):
        torch.testing.assert_close(got, own, rtol=0, atol=0)
        assert len(where) == len(own)
    for i, where in enumerate(columns(lengths, to)):
        row = 0 if to == "packed" else i
        assert other.positions[row, where].tolist() == list(range(lengths[i]))
        torch.testing.assert_close(other.tokens[row, where], sequences[i], rtol=0, atol=0)
    if to != "packed":
        assert (other.tokens[~other.valid] == -7.0).all()


def test_padding_that_is_nan_reaches_nobody() -> None:
    batch = sl.Batch.from_sequences([torch.ones(3, 2), torch.ones(1, 2)], pad=torch.nan)
    x = batch.tokens.clone().requires_grad_()
    batch.gather(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[[2.0, 2.0]] * 3, [[2.0, 2.0], [0.0, 0.0], [0.0, 0.0]]]


@pytest.mark.parametrize("side", SIDES)
def test_first_and_last(side) -> None:
    batch = sl.Batch.from_sequences([[1, 2, 3], [4], [5, 6]], side=side, pad=99)
    assert batch.first(batch.tokens).tolist() == [1, 4, 5]
    assert batch.last(batch.tokens).tolist() == [3, 4, 6]
    assert batch.cu_seqlens.tolist() == [0, 3, 4, 6]
    assert len(batch) == 3


@pytest.mark.parametrize(("truncate", "kept"), [("left", [[2, 3], [4]]), ("right", [[1, 2], [4]])])
def test_truncation_is_said_and_counted(truncate, kept) -> None:
    batch = sl.Batch.from_sequences([[1, 2, 3], [4]], max_length=2, truncate=truncate)
    assert [each.tolist() for each in batch.sequences()] == kept
    assert batch.dropped == (1, 0)
    assert batch.packed().dropped == (1, 0)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_padded_tensor_is_taken_as_it_stands(side) -> None:
    made = sl.Batch.from_sequences([[1, 2, 3], [4]], side=side)
    by_lengths = sl.Batch.from_padded(made.tokens, made.lengths, side=side)
    by_valid = sl.Batch.from_padded(made.tokens, valid=made.valid.long())
    for read in (by_lengths, by_valid):
        assert (read.lengths, read.side, read.length) == ((3, 1), side, 3)
        assert [each.tolist() for each in read.sequences()] == [[1, 2, 3], [4]]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: sl.Batch.from_sequences([]), "no sequences"),
        (lambda: sl.Batch.from_sequences([[1, 2, 3]], max_length=2), "more than max_length=2"),
        (lambda: sl.Batch.from_sequences([[1]], max_length=2, truncate="end"), "truncate='end'"),
        (lambda: sl.Batch.from_sequences([1, 2]), "a single number"),
        (lambda: sl.Batch.from_sequences([[1]], side="middle"), "side='middle'"),
        (lambda: sl.Batch.from_sequences([torch.ones(2), torch.ones(2).int()]), "dtype"),
        (lambda: sl.Batch.from_sequences([torch.ones(2, 3), torch.ones(2, 4)]), "trailing shape"),
        (lambda: sl.Batch.from_lengths([2, 3], length=2), "at least 3"),
        (lambda: sl.Batch.from_lengths([2, 3], side="packed", length=6), "wanted 5"),
        (lambda: sl.Batch.from_lengths([-1]), "negative"),
        (lambda: sl.Batch.from_lengths([2]).sequences(), "lengths only"),
        (lambda: sl.Batch.from_lengths([2, 0]).last(torch.ones(2, 2)), "empty sequence"),
        (lambda: sl.Batch.from_lengths([2, 1]).gather(torch.ones(2, 3)), "[2, 2, ...]"),
        (lambda: sl.Batch.from_lengths([2, 1]).scatter(torch.ones(4)), "3 tokens"),
        (lambda: sl.Batch.from_lengths([2, 1]).place([sl.causal()]), "1 masks for 2"),
        (lambda: sl.Batch.from_padded(torch.ones(2), [1]), "[batch, length, ...]"),
        (lambda: sl.Batch.from_padded(torch.ones(2, 2)), "both or neither"),
        (lambda: sl.Batch.from_padded(torch.ones(2, 2), [1]), "1 lengths for 2 rows"),
        (lambda: sl.Batch.from_padded(torch.ones(1, 3), valid=[[1, 0, 1]]), "with gaps"),
        (lambda: sl.Batch.from_padded(torch.ones(1, 3), valid=[[1, 0, 2]]), "1 and 0"),
    ],
)
def test_what_does_not_fit_is_refused_with_words(wrong, words) -> None:
    with pytest.raises(sl.SightlineError) as caught:
        wrong()
    assert words in str(caught.value)


def test_a_mask_with_rows_of_its_own_wants_a_list_once_columns_move() -> None:
    rows = sl.prefix_lm([1, 2])
    right = sl.Batch.from_lengths([2, 3])
    assert right.place(rows) == rows & right.mask
    with pytest.raises(sl.ShapeMismatch, match="a list"):
        sl.Batch.from_lengths([2, 3], side="left").place(rows)
