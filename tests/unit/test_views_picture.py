"""Surveys and pictures: the numbers behind a drawing, against the mask itself."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline import reference
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.testing.specs import build
from sightline.testing.strategies import expressions, frames
from sightline.views import survey as survey_module
from sightline.views.picture import MaskPicture, picture_of
from sightline.views.survey import Survey, cell_side, survey

MASKS = (
    sl.causal(strict=True) & sl.padding(lengths=[11, 0, 4]),
    sl.per_head([sl.window(left=2, right=1), sl.dilated(3), sl.nothing()]),
    sl.per_batch([sl.chunks(4), sl.causal()]) | sl.per_head([sl.keys(3), sl.queries(5)]),
)
SIZES = st.integers(1, 40)


@given(
    mask=st.sampled_from(MASKS),
    q_len=SIZES,
    kv_len=SIZES,
    q_offset=st.integers(0, 9),
    fit=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    strips=st.sampled_from([1, 3, 16]),
    side=st.sampled_from([1, 2, 8, 128]),
    at_a_time=st.sampled_from([1, 64, 1 << 20]),
)
def test_a_survey_counts_what_the_mask_allows(
    mask: sl.Mask,
    q_len: int,
    kv_len: int,
    q_offset: int,
    fit: tuple[int, int],
    strips: int,
    side: int,
    at_a_time: int,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(survey_module, "_STRIPS", strips)
        patch.setattr(survey_module, "_SIDE", side)
        patch.setattr(survey_module, "_MOST_ADDED", at_a_time)
        seen = survey(mask, q_len, kv_len, q_offset=q_offset, fit=fit)
    allowed = mask.dense(q_len, kv_len, q_offset=q_offset)
    assert seen.counts.shape[2] <= fit[0]
    assert seen.counts.shape[3] <= fit[1]
    check(seen, allowed)
    assert seen.total == allowed.sum()
    assert seen.pairs == allowed.size


def check(seen: Survey, allowed: np.ndarray) -> None:
    """Compare a survey with the mask written out, cell by cell of the picture."""
    assert seen.counts.shape[:2] == allowed.shape[:2]
    rows, columns = (
        np.arange(0, n, side) for n, side in zip(allowed.shape[2:], seen.cell, strict=True)
    )
    counts = np.add.reduceat(allowed.astype(np.int64), rows, axis=2)
    np.testing.assert_array_equal(seen.counts, np.add.reduceat(counts, columns, axis=3))
    areas = np.add.reduceat(np.ones(allowed.shape[2:], np.int64), rows, axis=0)
    np.testing.assert_array_equal(seen.areas, np.add.reduceat(areas, columns, axis=1))
    np.testing.assert_array_equal(seen.empty, ~allowed.any(axis=-1))


@given(data=st.data())
def test_surveys_of_random_expressions(data: st.DataObject) -> None:
    """Against the oracle, which shares no code with masks."""
    frame = data.draw(frames(longest=20))
    spec = data.draw(expressions(frame, depth=3))
    fit = data.draw(st.tuples(st.sampled_from([1, 2, 3, 7, 64]), st.sampled_from([1, 2, 5, 64])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(survey_module, "_SIDE", data.draw(st.sampled_from([1, 2, 4, 128])))
        seen = survey(build(spec), frame.q_len, frame.kv_len, q_offset=frame.q_offset, fit=fit)
    allowed = reference.dense(spec, frame.q_len, frame.kv_len, frame.q_offset, 0)
    # A mask that came out the same for all rows has one.
    lead = allowed.shape[:2]
    counts = np.broadcast_to(seen.counts, (*lead, *seen.counts.shape[2:]))
    empty = np.broadcast_to(seen.empty, (*lead, seen.q_len))
    check(replace(seen, counts=counts, empty=empty), allowed)


@pytest.mark.parametrize("spans", [(300, 700), (700, 300), (1, 900), (900, 1)])
@pytest.mark.parametrize("fit", [3, 128, 1024])
def test_cells_larger_and_smaller_than_what_is_read(spans: tuple[int, int], fit: int) -> None:
    for mask in (*MASKS, sl.causal() | sl.keys(range(200)), sl.everything(), sl.nothing()):
        seen = survey(mask, *spans, q_offset=5, fit=fit)
        check(seen, mask.dense(*spans, q_offset=5))


@pytest.mark.parametrize("fault", ["_overlap", "per_cell"])
def test_the_check_above_can_see(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = getattr(survey_module, fault)
    monkeypatch.setattr(survey_module, fault, lambda *given: own(*given)[:, ::-1])
    mask = sl.causal() & sl.padding(lengths=[600, 130])
    with pytest.raises(AssertionError):
        check(survey(mask, 700, fit=32), mask.dense(700))


def test_a_million_tokens() -> None:
    size = 1 << 20
    mask = sl.causal() & sl.documents(lengths=[size // 4] * 4)
    seen = survey(mask, size, fit=8)
    assert seen.total == mask.count(size) == 4 * (size // 4) * (size // 4 + 1) // 2
    half = seen.cell[0] * (seen.cell[0] + 1) // 2
    assert seen.counts[0, 0, :3, :3].tolist() == [
        [half, 0, 0],
        [seen.cell[0] ** 2, half, 0],
        [0, 0, half],
    ]
    assert not seen.empty.any()


def test_masks_without_structure_are_refused_beyond_a_limit() -> None:
    mask = sl.predicate(lambda b, h, q, k: (q * k) % 7 < 3)
    assert survey(mask, 512, most_mixed=16).total == mask.count(512)
    with pytest.raises(InvalidArgument, match=r"more than 15 blocks of 128 x 128.*smaller size"):
        survey(mask, 512, most_mixed=15)
    survey(sl.causal(), 2048, most_mixed=16)


def test_progress_adds_up_to_all_queries() -> None:
    steps: list[int] = []
    survey(sl.causal(), 5000, progress=steps.append)
    assert sum(steps) == 5000
    assert len(steps) > 1


def test_memory_stays_small() -> None:
    mask = sl.causal() & sl.documents(lengths=[1000] * 300)
    survey(mask, 1000)  # loads what is loaded once
    tracemalloc.start()
    survey(mask, 300_000, fit=32)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 32 * 2**20


@pytest.mark.parametrize(("length", "fit", "side"), [(0, 4, 1), (4, 4, 1), (5, 4, 2), (9, 2, 8)])
def test_cells_are_no_larger_than_needed(length: int, fit: int, side: int) -> None:
    assert cell_side(length, fit) == side


def test_a_picture_of_a_mask() -> None:
    mask = sl.causal() & sl.padding(lengths=[4, 2])
    picture = picture_of(mask, 2, 4, q_offset=2, batch=1)
    assert picture.title == "causal() & padding(lengths=[4, 2])"
    assert picture.row_labels == ("2", "3")
    assert picture.column_labels == ("0", "1", "2", "3")
    assert picture.allowed.tolist() == [[True, True, False, False]] * 2
    assert (picture.count, picture.density, picture.shape) == (4, 0.5, (2, 4))


def test_cells_of_many_pairs_are_labeled_with_their_first_position() -> None:
    picture = picture_of(sl.causal(), 8, 16, q_offset=8, fit=4, row_labels=list("abcdefgh"))
    assert picture.row_labels == ("8", "10", "12", "14")
    assert picture.column_labels == ("0", "4", "8", "12")
    assert picture.aggregated


def test_arrays_of_a_picture_are_its_own() -> None:
    allowed = np.ones((2, 2), dtype=bool)
    picture = MaskPicture(allowed)
    allowed[:] = False
    assert picture.allowed.all()
    with pytest.raises(ValueError, match="read-only"):
        picture.allowed[0, 0] = False


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"allowed": np.ones((1, 2, 2))}, "shape \\(1, 2, 2\\)"),
        ({"row_labels": ("a",)}, "1 labels for 2 cells"),
        ({"column_labels": ("a",)}, "column_labels has 1"),
        (
            {"weights": np.ones((2, 2))},
            "weights has shape \\(2, 2\\), the picture needs \\(2, 3\\)",
        ),
        ({"empty_rows": [True]}, "empty_rows has shape"),
        ({"share": [[1.0]]}, "share has shape"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: dict[str, object], complaint: str) -> None:
    with pytest.raises(ShapeMismatch, match=complaint):
        MaskPicture(**{"allowed": np.ones((2, 3)), **arguments})  # type: ignore[arg-type]


def test_pictures_that_cannot_be_are_refused() -> None:
    with pytest.raises(ShapeMismatch, match="batch 1, but the mask has 1"):
        picture_of(sl.causal(), 4, batch=1)
    with pytest.raises(ShapeMismatch, match="head -1"):
        picture_of(sl.causal(), 4, head=-1)
    with pytest.raises(ShapeMismatch, match="3 labels for 4 positions"):
        picture_of(sl.causal(), 4, row_labels=["a", "b", "c"])
    with pytest.raises(ShapeMismatch, match="a cell is one pair"):
        picture_of(sl.causal(), 4, fit=2, weights=np.ones((4, 4)))
