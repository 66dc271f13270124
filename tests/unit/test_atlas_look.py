"""What is seen of a piece of a mask: every cell as the oracle counts it, estimates called so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import sightline as sl
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.bounds import EMPTY, FULL, PARTIAL
from sightline.reference.dense import dense as oracle
from sightline.testing.specs import build
from sightline.testing.strategies import Frame, expressions, frames
from sightline.views.atlas import canvas
from sightline.views.atlas.look import Look, View, look
from sightline.views.survey import survey

# Enough for anything here on any machine: time never decides what these tests see.
LONG = 1000.0

LARGE = {
    "causal": sl.causal(),
    "causal documents": sl.causal() & sl.documents(lengths=[1000, 3000, 24, 5000, 7]),
    "documents of batch rows": sl.documents(lengths=[[900, 4000], [3000, 2, 1000]]),
    "window": sl.window(50, 10),
    "dilated": sl.causal() & sl.dilated(7),
    "strided": sl.strided(100),
    "log sparse": sl.log_sparse(3),
    "random blocks": sl.random_blocks(16, 3),
    "neighborhood": sl.neighborhood((64, 64), 5),
    "shifted window": sl.shifted_window((60, 68), 8, 4),
    "block diffusion": sl.block_diffusion(2000, 48),
    "predicate": sl.predicate(lambda b, h, q, k: (q * k) % 5 == 0),
    "padding": sl.padding(lengths=[3000, 100, 4000]) & sl.causal(),
    "heads": sl.per_head([sl.causal(), sl.window(3, 3), sl.everything()]),
    "not": ~(sl.causal() | sl.prefix(700)),
    "moved": sl.chunks(300).shift(query=77, key=5) ^ sl.causal(),
}


def counted(allowed: NDArray[Any], view: View, cell: tuple[int, int]) -> tuple[Any, Any]:
    """Return (allowed pairs, pairs) of each cell, added up one cell after the other.

    ``allowed`` starts at the first query and key of the first cell.
    """
    rows, columns = (-(-n // side) for n, side in zip(allowed.shape, cell, strict=True))
    pairs, areas = np.zeros((rows, columns), int), np.zeros((rows, columns), int)
    for i in range(rows):
        for j in range(columns):
            here = allowed[i * cell[0] : (i + 1) * cell[0], j * cell[1] : (j + 1) * cell[1]]
            pairs[i, j], areas[i, j] = here.sum(), here.size
    return pairs, areas


def check(seen: Look, allowed: NDArray[Any]) -> None:
    pairs, areas = counted(allowed, seen.view, seen.cell)
    wanted = np.where(pairs == 0, EMPTY, np.where(pairs == areas, FULL, PARTIAL))
    np.testing.assert_array_equal(seen.state, wanted)
    np.testing.assert_allclose(seen.share, pairs / areas, rtol=1e-6)
    assert seen.sure.all()


def asked(mask: sl.Mask, seen: Look) -> NDArray[Any]:
    view = seen.view
    every = mask.dense(
        view.q_stop - seen.q_first, view.k_stop - seen.k_first, seen.q_first, seen.k_first
    )
    return every[view.batch if mask.batch > 1 else 0, view.head if mask.heads > 1 else 0]


@st.composite
def views(draw: st.DrawFn, frame: Frame) -> View:
    return View(
        frame.q_offset,
        frame.q_offset + frame.q_len,
        frame.kv_offset,
        frame.kv_offset + frame.kv_len,
        rows=draw(st.integers(1, 9)),
        columns=draw(st.integers(1, 9)),
        batch=draw(st.integers(0, frame.batch - 1)),
        head=draw(st.integers(0, frame.heads - 1)),
    )


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_any_expression_is_seen_as_the_oracle_defines_it(data: st.DataObject) -> None:
    frame = data.draw(frames(longest=24))
    spec = data.draw(expressions(frame))
    view = data.draw(views(frame))
    mask = build(spec)
    try:
        seen = look(mask, view, seconds=LONG)
    except ShapeMismatch:  # a dense mask that ends before the view does
        with pytest.raises(ShapeMismatch):
            mask.dense(*frame.at)
        return
    lengths = view.q_stop - seen.q_first, view.k_stop - seen.k_first
    pairs = oracle(spec, *lengths, seen.q_first, seen.k_first)
    batch, head = (
        i if n > 1 else 0 for i, n in zip((view.batch, view.head), pairs.shape[:2], strict=True)
    )
    check(seen, pairs[batch, head])


@pytest.mark.parametrize("name", LARGE)
def test_large_views_of_any_place_and_zoom(name: str) -> None:
    mask, random = LARGE[name], np.random.default_rng(7)
    for _ in range(8):
        q_start, k_start = random.integers(0, 4000, 2).tolist()
        q_len, kv_len, rows, columns = (int(random.integers(1, n)) for n in (900, 2500, 70, 70))
        view = View(
            q_start,
            q_start + q_len,
            k_start,
            k_start + kv_len,
            rows,
            columns,
            batch=int(random.integers(mask.batch)),
            head=int(random.integers(mask.heads)),
        )
        seen = look(mask, view, seconds=LONG)
        check(seen, asked(mask, seen))


@pytest.mark.parametrize("name", [name for name in LARGE if "predicate" not in name])
def test_the_same_as_a_survey(name: str) -> None:
    mask = LARGE[name]
    for batch, head in {(0, 0), (mask.batch - 1, mask.heads - 1)}:
        seen = look(mask, View(0, 4096, 0, 4000, 64, 16, batch, head), seconds=LONG)
        other = survey(mask, 4096, 4000, fit=(64, 16))
        assert seen.cell == other.cell
        np.testing.assert_allclose(
            seen.share, other.counts[batch, head] / other.areas, rtol=1e-6, atol=0
        )


@pytest.mark.parametrize("name", LARGE)
def test_a_view_that_is_moved_by_a_cell_shows_the_same_cells(name: str) -> None:
    mask = LARGE[name]
    for side in (1, 4, 64):
        here = look(mask, View(256, 256 + 40 * side, 640, 640 + 40 * side, 64, 64), seconds=LONG)
        there = look(
            mask,
            View(256 + side, 256 + 41 * side, 640 - side, 640 + 39 * side, 64, 64),
            seconds=LONG,
        )
        assert here.cell == there.cell
        assert (there.q_first, there.k_first) == (
            here.q_first + here.cell[0],
            here.k_first - here.cell[1],
        )
        rows, columns = here.state.shape
        np.testing.assert_array_equal(
            there.state[: rows - 1, 1:columns], here.state[1:, : columns - 1]
        )
        np.testing.assert_array_equal(
            there.share[: rows - 1, 1:columns], here.share[1:, : columns - 1]
        )


def test_cells_lie_at_multiples_of_their_sides() -> None:
    mask = LARGE["random blocks"]
    here = look(mask, View(64, 704, 128, 1024, 40, 14), seconds=LONG)
    there = look(mask, View(79, 704, 130, 1024, 40, 14), seconds=LONG)
    assert here.cell == there.cell == (16, 64)
    assert (there.q_first, there.k_first) == (64, 128)
    np.testing.assert_array_equal(here.share, there.share)


def test_a_million_and_64_million_tokens_have_the_counts_of_formulas() -> None:
    for size in (2**20, 2**26):
        seen = look(sl.causal(), View(0, size, 0, size), seconds=LONG)
        side = seen.cell[0]
        assert seen.state.shape == (256, 256)
        np.testing.assert_array_equal(seen.state, np.tri(256, dtype=int) * 2 - np.eye(256))
        assert seen.share[3, 3] == np.float32((side + 1) / (2 * side))
        last = look(sl.causal(), View(size - 3, size, size - 3, size), seconds=LONG)
        np.testing.assert_array_equal(last.state, np.tri(3, dtype=int) * 2)


def test_a_cell_with_a_single_hole_or_pair_is_not_called_full_or_empty() -> None:
    pair = sl.queries([2**19 + 5]) & sl.keys([77])
    view = View(0, 2**20, 0, 2**20, 4, 4)
    one, hole = look(pair, view, seconds=LONG), look(~pair, view, seconds=LONG)
    assert (one.state.tolist()[2], hole.state.tolist()[2]) == ([1, 0, 0, 0], [1, 2, 2, 2])
    assert 0 < one.share[2, 0] < 1e-10
    assert hole.share[2, 0] < 1


def uneven(b: Any, h: Any, q: Any, k: Any) -> Any:
    return (q * 7 + k * k) % 3 == 0


def test_what_there_is_no_time_for_is_estimated_and_says_so() -> None:
    mask = sl.predicate(uneven) & (sl.causal() | sl.prefix(2**19))
    seen = look(mask, View(0, 2**20, 0, 2**20, 64, 64), seconds=0.05)
    above = np.triu(np.ones((64, 64), bool), 1) & (np.arange(64) >= 32)
    # What the bounds tell is sure, whatever the rest is.
    assert (seen.state[above] == EMPTY).all()
    assert seen.sure[above].all()
    others = ~above & ~np.eye(64, dtype=bool)
    assert not seen.sure[others].any()
    assert (seen.state[others] == PARTIAL).all()
    assert ((seen.share[others] > 0) & (seen.share[others] < 1)).all()
    assert abs(seen.share[others].mean() - 1 / 3) < 0.05


def test_no_time_at_all_still_gives_every_cell_a_share() -> None:
    seen = look(sl.predicate(uneven), View(0, 2**20, 0, 2**20), seconds=0)
    assert not seen.sure.any()
    assert ((seen.share > 0) & (seen.share < 1)).all()


def test_estimates_are_drawn_where_the_cells_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mask that is dense in one corner and thin elsewhere: shares must not be those of others."""
    left = sl.predicate(lambda b, h, q, k: (k < 2**18) & ((q + k) % 8 != 0) & (q > 2**20))
    monkeypatch.setattr(canvas, "_MOST_SAMPLES", 64)
    seen = look(left, View(2**20 + 5, 2**21, 3, 2**20, 16, 16), seconds=0.5)
    assert not seen.sure.any()
    assert (seen.share[:, :3] > 0.7).all()
    assert (seen.share[:, 5:] < 0.1).all()


def test_pairs_and_small_views_are_exact_however_little_time_there_is() -> None:
    mask = sl.predicate(uneven)
    for view in (View(10**6, 10**6 + 200, 5, 260), View(3, 203, 10**6, 10**6 + 200, 20, 20)):
        seen = look(mask, view, seconds=0)
        check(seen, asked(mask, seen))


def test_a_view_that_is_cut_short_differs_from_a_whole_one_in_nothing_that_is_sure() -> None:
    mask = LARGE["random blocks"] | LARGE["dilated"]
    view = View(0, 2**17, 0, 2**17)
    whole, short = look(mask, view, seconds=LONG), look(mask, view, seconds=0.02)
    np.testing.assert_array_equal(short.state[short.sure], whole.state[short.sure])
    np.testing.assert_array_equal(short.share[short.sure], whole.share[short.sure])


def test_empty_views() -> None:
    assert look(sl.causal(), View(5, 5, 0, 8)).state.shape == (0, 8)
    assert look(sl.causal(), View(0, 4, 8, 8)).share.shape == (4, 0)


@pytest.mark.parametrize(
    ("view", "says"),
    [
        (View(-1, 4, 0, 4), "q_start"),
        (View(4, 3, 0, 4), "q_stop"),
        (View(0, 4, 4, 0), "k_stop"),
        (View(0, 4, 0, 4, rows=0), "rows"),
        (View(0, 4, 0, 4, columns=2.5), "columns"),  # type: ignore[arg-type]
        (View(0, 4, 0, 4, batch=3), "batch= must be from 0 to 1"),
        (View(0, 4, 0, 4, head=-1), "head"),
    ],
)
def test_views_that_are_none(view: View, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        look(sl.padding(lengths=[3, 2]), view)


def test_a_dense_mask_is_not_known_beyond_its_array() -> None:
    mask = sl.dense(np.tri(6, 5, dtype=bool), means="attend")
    seen = look(mask, View(1, 6, 2, 5))
    check(seen, asked(mask, seen))
    with pytest.raises(ShapeMismatch):
        look(mask, View(1, 7, 2, 5))


def test_documents_of_millions_are_asked_without_a_table_of_all_positions() -> None:
    mask = sl.documents(lengths=[2**25, 2**25 - 3]) & sl.predicate(uneven)
    seen = look(mask, View(0, 2**26, 0, 2**26, 8, 8), seconds=0.05)
    documents = next(part for part in mask.parts if type(part).__name__ == "Segments")  # type: ignore[attr-defined]
    assert not documents.expanded
    assert (seen.state[:4, 4:] == EMPTY).all()
    assert not seen.sure[:4, :4].any()
