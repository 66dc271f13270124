"""Surveys and pictures: the numbers behind a drawing, against the mask itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.errors import ShapeMismatch
from sightline.views import survey as survey_module
from sightline.views.picture import MaskPicture, picture_of
from sightline.views.survey import cell_side, survey

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
    at_a_time=st.sampled_from([1, 16, 64, 300, 1 << 21]),
)
def test_a_survey_counts_what_the_mask_allows(
    mask: sl.Mask,
    q_len: int,
    kv_len: int,
    q_offset: int,
    fit: tuple[int, int],
    at_a_time: int,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(survey_module, "_PAIRS_AT_A_TIME", at_a_time)
        seen = survey(mask, q_len, kv_len, q_offset=q_offset, fit=fit)
    allowed = mask.dense(q_len, kv_len, q_offset=q_offset)
    rows, columns = seen.cell
    assert seen.counts.shape[2] <= fit[0]
    assert seen.counts.shape[3] <= fit[1]
    for row in range(seen.counts.shape[2]):
        for column in range(seen.counts.shape[3]):
            block = allowed[
                :, :, row * rows : (row + 1) * rows, column * columns : (column + 1) * columns
            ]
            np.testing.assert_array_equal(seen.counts[:, :, row, column], block.sum(axis=(2, 3)))
            assert seen.areas[row, column] == block.shape[2] * block.shape[3]
    np.testing.assert_array_equal(seen.empty, ~allowed.any(axis=-1))
    assert seen.total == allowed.sum()
    assert seen.pairs == allowed.size


def test_progress_adds_up_to_all_queries() -> None:
    steps: list[int] = []
    survey(sl.causal(), 5000, progress=steps.append)
    assert sum(steps) == 5000
    assert len(steps) > 1


def test_memory_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    most = 0
    rows = sl.Mask.rows

    def watched(self: sl.Mask, *arguments: int) -> np.ndarray:
        nonlocal most
        result = rows(self, *arguments)
        most = max(most, result.size)
        return result

    monkeypatch.setattr(sl.Mask, "rows", watched)
    survey(sl.causal(), 3000, 4000, fit=32)
    assert most <= survey_module._PAIRS_AT_A_TIME


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
