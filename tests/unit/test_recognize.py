"""The front door of recognition: what arrays mean, what looks wrong in them, what is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import sightline as sl
from sightline.errors import InvalidArgument, ShapeMismatch, SightlineError
from sightline.recognize import recognize as front_door

CAUSAL = np.tri(5, dtype=bool)
PADDED = (sl.causal() & sl.padding(lengths=[5, 3])).dense(5)


# -- what the values mean ----------------------------------------------------------------------


@pytest.mark.parametrize("means", [None, "attend"])
def test_bools_in_which_every_query_sees_itself_attend(means: str | None) -> None:
    found = sl.recognize(CAUSAL, means)
    assert (found.mask, found.convention, found.q_offset) == (sl.causal(), "attend", 0)
    assert not found.warnings


@pytest.mark.parametrize("means", [None, "ignore"])
def test_bools_in_which_no_query_sees_itself_forbid(means: str | None) -> None:
    found = sl.recognize(~CAUSAL, means)
    assert (found.mask, found.convention) == (sl.causal(), "ignore")
    assert not found.warnings


def test_the_polarity_of_padded_bools_is_judged_by_the_real_queries() -> None:
    left = (sl.causal() & sl.padding(lengths=[4, 2], side="left")).dense(4)
    for array in (PADDED, left):
        assert sl.recognize(array).convention == "attend"
        assert sl.recognize(~array).convention == "ignore"
        assert sl.recognize(array).mask == sl.recognize(~array).mask


def test_a_key_padding_mask_is_judged_by_empty_rows() -> None:
    keys = sl.padding(lengths=[4, 2]).dense(1, 4)
    for array, convention in ((keys, "attend"), (~keys, "ignore")):
        found = sl.recognize(array)
        assert (found.mask, found.convention) == (sl.padding(lengths=[4, 2]), convention)
        assert "sees a key" in found.evidence[0]


def test_bools_that_decide_nothing_take_the_shorter_expression() -> None:
    found = sl.recognize([[True, False, True, False]])
    assert (found.mask, found.convention) == (sl.keys([0, 2]), "attend")
    found = sl.recognize([[False, False, True, True]])
    assert (found.mask, found.convention) == (sl.prefix(2), "ignore")
    assert "shorter" in found.evidence[0]


def test_what_stays_open_with_bools_is_said() -> None:
    assert "True = ignore" in sl.recognize(CAUSAL).ambiguous[0]
    assert "~causal()" in sl.recognize(CAUSAL).ambiguous[0]
    assert "causal(strict=True)" in sl.recognize(np.tri(5, k=-1, dtype=bool)).ambiguous[0]
    assert not sl.recognize(CAUSAL, "attend").ambiguous


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("forbids", [-np.inf, "min", -1e4])
def test_floats_of_0_and_minus_infinity_are_added(dtype: Any, forbids: Any) -> None:
    number = np.finfo(dtype).min if forbids == "min" else dtype(forbids)
    array = np.where(CAUSAL, dtype(0), number)
    for means in (None, "additive"):
        found = sl.recognize(array, means)
        assert (found.mask, found.convention) == (sl.causal(), "additive")
        assert not found.ambiguous
        assert not found.warnings
    assert "additive" in sl.recognize(array).evidence[0]


def test_minus_zero_may_attend() -> None:
    array = np.where(CAUSAL, -0.0, -np.inf)
    assert sl.recognize(array).mask == sl.causal()


def test_a_sum_of_two_additive_masks() -> None:
    array = np.where(CAUSAL, 0, -1e9) + np.where(sl.window(left=1).dense(5)[0, 0], 0.0, -1e9)
    found = sl.recognize(array)
    assert found.mask == sl.window(left=1, right=0)
    assert (
        sl.recognize(array + np.where(sl.prefix(4).dense(5)[0, 0], 0.0, -1e9))
        .evidence[0]
        .startswith("floats, 0 and 2 different numbers")
    )


@pytest.mark.parametrize("dtype", [int, np.uint8, float])
@pytest.mark.parametrize("means", ["attend", "ignore"])
def test_numbers_of_0_and_1_are_read_as_stated(dtype: Any, means: str) -> None:
    array = (CAUSAL if means == "attend" else ~CAUSAL).astype(dtype)
    assert sl.recognize(array, means).mask == sl.causal()
    assert sl.recognize(array, means).convention == means


@pytest.mark.parametrize("dtype", [int, np.uint8, float])
@pytest.mark.parametrize("array", [CAUSAL, CAUSAL * 0, CAUSAL | True])
def test_numbers_of_0_and_1_are_not_guessed(dtype: Any, array: np.ndarray) -> None:
    with pytest.raises(InvalidArgument, match=r"0 and 1 only .* Say which"):
        sl.recognize(array.astype(dtype))


# -- shapes and sources ------------------------------------------------------------------------


def test_axes() -> None:
    per_row = np.stack([CAUSAL, CAUSAL | sl.prefix(3).dense(5)[0, 0]])
    rows = sl.prefix_lm([0, 3])
    assert sl.recognize(per_row[:, None]).mask == rows
    three = sl.recognize(per_row)
    assert three.mask == rows
    assert "array[None]" in three.ambiguous[-1]
    heads = sl.recognize(per_row[None])
    assert heads.mask == sl.per_head([sl.causal(), sl.prefix_lm(3)])
    assert len(heads.ambiguous) == 1


def test_equal_batch_rows_and_heads_are_one() -> None:
    found = sl.recognize(np.broadcast_to(CAUSAL, (3, 2, 5, 5)))
    assert found.mask == sl.causal()
    found = sl.recognize(np.broadcast_to(PADDED, (2, 4, 5, 5)))
    assert found.mask == sl.causal() & sl.padding(lengths=[5, 3])


def test_q_offset_of_fewer_queries_than_keys() -> None:
    found = sl.recognize(sl.causal().dense(3, 7, 4))
    assert (found.mask, found.q_offset) == (sl.causal(), 4)
    assert any("at 0 it would be window(right=4)" in line for line in found.evidence)
    found = sl.recognize(sl.causal().dense(3, 7, 0))
    assert (found.mask, found.q_offset) == (sl.causal(), 0)
    found = sl.recognize(sl.causal().dense(3, 7, 4), q_offset=0)
    assert (found.mask, found.q_offset) == (sl.window(right=4), 0)
    found = sl.recognize(sl.causal().dense(2, 9, 5), "attend", q_offset=5)
    assert (found.mask, found.q_offset) == (sl.causal(), 5)


def test_a_position_far_away_costs_nothing() -> None:
    far = 10**9
    mask = sl.causal() & sl.window(left=far)
    assert sl.recognize(mask.dense(3, 5, far), "attend", q_offset=far).mask == sl.window(left=far)


def test_tensors_of_torch() -> None:
    torch = pytest.importorskip("torch")
    causal = torch.tensor(CAUSAL)
    assert sl.recognize(causal).mask == sl.causal()
    lowest = torch.finfo(torch.bfloat16).min
    added = torch.where(causal, 0.0, lowest).to(torch.bfloat16).requires_grad_()
    assert sl.recognize(added).mask == sl.causal()


def test_the_package_is_its_front_door_and_loads_no_framework() -> None:
    program = (
        "import sys, numpy as np, sightline as sl\n"
        "import sightline.recognize.search\n"
        "assert sl.recognize(np.tri(3, dtype=bool)).mask == sl.causal()\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# -- what looks wrong --------------------------------------------------------------------------


def warned(array: Any, means: str | None = None) -> str:
    return " / ".join(sl.recognize(array, means).warnings)


def test_empty_rows_are_counted_and_named() -> None:
    left = (sl.causal() & sl.padding(lengths=[4, 2], side="left")).dense(4)
    assert "2 of 8 rows see nothing (first: batch 1, head 0, query 0)" in warned(left)
    assert "nan" in warned(left)
    assert "nan" in warned(np.where(left, 0.0, -np.inf))
    assert "attends all the same" in warned(np.where(left, 0.0, -1e9))
    assert not warned(PADDED)


def test_what_one_row_leaves_open() -> None:
    step = sl.recognize(np.array([[True, True, True, False]]))
    all_seen = sl.recognize(np.ones((1, 4), dtype=bool))
    assert "sees itself" not in " / ".join(all_seen.evidence), "a single query says nothing"
    assert "one query" in " / ".join(step.ambiguous)
    three, one = (" / ".join(sl.recognize(a).ambiguous) for a in (PADDED[:, 0], CAUSAL[None]))
    assert "three axes" in three
    assert "three axes" not in one


def test_what_looks_inverted() -> None:
    assert 'looks inverted: in means="attend" no query sees itself' in warned(~CAUSAL, "attend")
    assert 'looks inverted: in means="ignore" no query sees itself' in warned(CAUSAL, "ignore")
    assert "inverted" not in warned(CAUSAL, "attend")
    assert "inverted" not in warned(~sl.chunks(2).dense(5) | sl.keys([1]).dense(5), "attend")


def test_padding_on_the_query_axis() -> None:
    wrong = sl.padding(lengths=[4, 2]).T
    assert "whole rows are off" in warned(wrong.dense(4), "attend")
    left = sl.padding(lengths=[4, 2], side="left").T & sl.causal()
    assert "whole rows are off" in warned(left.dense(4), "attend")
    assert "whole rows are off" in warned(sl.queries([0, 1]).dense(4), "attend")
    assert "whole rows are off" in warned(sl.queries([2]).dense(2, 4, 2), "attend")
    assert "whole rows" not in warned(sl.padding(lengths=[4, 2]).dense(4), "attend")
    # The padded keys are off as well: nobody sees them.
    assert "whole rows" not in warned((wrong & sl.causal()).dense(4), "attend")
    # Queries 2, 4 and 6 are off, and so are their keys; keys 0 and 1 are of no query here.
    later = (sl.queries([3, 5]) & sl.keys([0, 1, 3])).dense(5, 8, 2)
    found = sl.recognize(later, "attend", q_offset=2)
    assert "queries" in repr(found.mask)
    assert "whole rows" not in " / ".join(found.warnings)


def test_an_array_that_forbids_nothing() -> None:
    assert "forbids nothing" in warned(np.ones((3, 3), dtype=bool))
    assert not warned(CAUSAL)


# -- text --------------------------------------------------------------------------------------


def test_text() -> None:
    found = sl.recognize(sl.causal().dense(2, 5, 3), "attend")
    assert repr(found) == "Recognized(causal(), means='attend', q_offset=3)"
    lines = str(found).splitlines()
    assert lines[:2] == ["causal() at q_offset=3", 'means "attend"']
    assert lines[2].startswith("because: ")
    found = sl.recognize(~CAUSAL, "attend")
    assert repr(found) == "Recognized(~causal(), means='attend')"
    assert sum(line.startswith("warning: ") for line in str(found).splitlines()) == 2


# -- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "means", "said"),
    [
        (CAUSAL * -100.0, None, "got -100 among"),
        (np.where(CAUSAL, 0, -9999.0), None, "is a bias"),
        (np.where(CAUSAL, 0.5, -np.inf), "additive", "got 0.5 among"),
        (np.where(CAUSAL, np.inf, -np.inf), None, "got inf among"),
        (np.where(CAUSAL, np.nan, -np.inf), None, "got nan"),
        (np.where(CAUSAL, 0, -10000), None, "got int64 numbers to be added"),
        (CAUSAL, "additive", "got bool numbers to be added"),
        (CAUSAL * 2, "attend", "got 2 in an array"),
        (np.where(CAUSAL, 0.0, -np.inf), "ignore", "got -inf in an array"),
        (CAUSAL, "keep", "got means='keep'"),
        (CAUSAL, True, "got means=True"),
        (None, None, "got None"),
        ("causal()", None, "wanted an array"),
        ([[True], [True, False]], None, "rows of equal length"),
        (CAUSAL.astype(object), None, "object"),
        (CAUSAL.astype(complex), None, "complex"),
    ],
)
def test_values_that_are_no_mask(array: Any, means: Any, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        sl.recognize(array, means)


@pytest.mark.parametrize("shape", [(), (4,), (1, 1, 1, 2, 2), (0, 3), (2, 0, 3, 3)])
def test_shapes_that_are_no_mask(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeMismatch, match="wanted"):
        sl.recognize(np.ones(shape, dtype=bool))


@pytest.mark.parametrize("q_offset", [-1, 1.0, "0", True])
def test_offsets_that_are_none(q_offset: Any) -> None:
    with pytest.raises(ShapeMismatch, match="q_offset must be"):
        sl.recognize(CAUSAL, q_offset=q_offset)


def test_a_wrong_expression_does_not_leave_the_house(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules[front_door.__module__] if callable(front_door) else front_door
    monkeypatch.setattr(module, "find", lambda *_: sl.causal(strict=True))
    with pytest.raises(SightlineError, match="does not have the array's cells"):
        sl.recognize(CAUSAL)
