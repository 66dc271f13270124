"""UniLM's masks: drawn by hand, against their formulas, and in every layout of a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl

torch = pytest.importorskip("torch")

from sightline.models.unilm_masks import (  # noqa: E402
    MODES,
    bidirectional,
    left_to_right,
    right_to_left,
    segment_ids,
    sequence_to_sequence,
    unilm_mask,
)

# Five places, four of them real, two of them source; x: the query of this row sees the key.
DRAWN = {
    "bidirectional": "xxxx. xxxx. xxxx. xxxx. .....",
    "left_to_right": "x.... xx... xxx.. xxxx. .....",
    "right_to_left": "xxxx. .xxx. ..xx. ...x. .....",
    "seq2seq": "xx... xx... xxx.. xxxx. .....",
}


def written_out(mode: str, length: int, source: int, size: int) -> np.ndarray:
    """The formula, pair by pair: i is the query, j the key, a the source, n what is real."""
    seen = np.zeros((size, size), dtype=bool)
    for i in range(size):
        for j in range(size):
            rule = {
                "bidirectional": True,
                "left_to_right": j <= i,
                "right_to_left": j >= i,
                "seq2seq": j < source or j <= i,
            }[mode]
            seen[i, j] = rule and i < length and j < length
    return seen


@pytest.mark.parametrize("mode", MODES)
def test_drawn_by_hand(mode: Any) -> None:
    drawn = np.array([[cell == "x" for cell in row] for row in DRAWN[mode].split()])
    batch = sl.Batch.from_lengths([4], length=5)
    assert (unilm_mask(batch, mode, [2]).dense(5)[0, 0] == drawn).all()
    assert (written_out(mode, 4, 2, 5) == drawn).all()


def test_over_one_sequence_they_are_words_of_the_library() -> None:
    rows = np.ones((5, 5), dtype=bool)
    assert (bidirectional().dense(5)[0, 0] == rows).all()
    assert (left_to_right().dense(5)[0, 0] == np.tril(rows)).all()
    assert (right_to_left().dense(5)[0, 0] == np.triu(rows)).all()
    assert sequence_to_sequence([2, 4]) == sl.seq2seq([2, 4])


sequences = st.lists(
    st.tuples(st.sampled_from(MODES), st.integers(1, 7), st.integers(0, 7)), min_size=1, max_size=4
)


@given(sequences, st.sampled_from(["right", "left", "packed"]), st.integers(0, 3))
def test_formula_in_every_layout(drawn: list[Any], side: Any, beyond: int) -> None:
    modes = [mode for mode, _, _ in drawn]
    lengths = [length for _, length, _ in drawn]
    sources = [min(source, length) for _, length, source in drawn]
    total = None if side == "packed" else max(lengths) + beyond
    batch = sl.Batch.from_lengths(lengths, side=side, length=total)
    found = unilm_mask(batch, modes, sources).dense(batch.length)
    found = np.broadcast_to(found, (batch.rows, 1, batch.length, batch.length))[:, 0]
    wanted = np.zeros_like(found)
    column = 0
    for row, (mode, length, source) in enumerate(zip(modes, lengths, sources, strict=True)):
        start = {"right": 0, "left": batch.length - length, "packed": column}[side]
        column += length
        own = written_out(mode, length, source, length)
        place = slice(start, start + length)
        wanted[0 if side == "packed" else row, place, place] = own
    assert (found == wanted).all()


@pytest.mark.parametrize("side", ["right", "left", "packed"])
def test_segments(side: Any) -> None:
    batch = sl.Batch.from_lengths([3, 2, 4, 3], side=side)
    found = segment_ids(batch, MODES, [1, 1, 1, 2])
    wanted = [[0, 1, 1], [2, 2], [3, 3, 3, 3], [4, 4, 5]]
    assert [each.tolist() for each in batch.split(found)] == wanted
    assert not found[~batch.valid].any()


def test_one_word_is_a_mode_for_all() -> None:
    batch = sl.Batch.from_lengths([3, 5])
    assert unilm_mask(batch, "right_to_left") == unilm_mask(batch, ["right_to_left"] * 2)
    assert segment_ids(batch, "bidirectional").sum() == 0


@pytest.mark.parametrize(
    ("modes", "sources", "said"),
    [
        ("backwards", None, "backwards"),
        (["left_to_right"], None, "1 modes for 2"),
        ("seq2seq", None, "source_lengths"),
        ("seq2seq", [1], "1 source lengths for 2"),
        ("seq2seq", [1, 4], "source of 4 tokens in sequence 1 of 3"),
        ("seq2seq", [-1, 2], "source of -1"),
    ],
)
def test_what_does_not_fit_is_refused(modes: Any, sources: Any, said: str) -> None:
    batch = sl.Batch.from_lengths([2, 3])
    for ask in (unilm_mask, segment_ids):
        with pytest.raises(sl.InvalidArgument, match=said):
            ask(batch, modes, sources)
