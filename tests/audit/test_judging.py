"""A leak is told from rounding by its size in two precisions."""

from __future__ import annotations

import numpy as np
import pytest

from sightline.audit.probing.judging import moved, sequences, size_of_change, verdict


def test_any_bit_is_a_move_and_nan_equals_nan() -> None:
    base = np.array([[[1.0, np.nan], [2.0, 3.0], [4.0, np.inf]]])
    other = base.copy()
    assert not moved(base, other).any()
    other[0, 1, 1] = np.nextafter(3.0, 4.0)
    assert moved(base, other).tolist() == [[False, True, False]]


def test_the_size_is_a_part_of_the_output() -> None:
    base = np.full((2, 3, 5), 10.0)
    other = base.copy()
    other[1, 2, 4] += 5.0
    where = np.zeros((2, 3), dtype=bool)
    where[1, 2] = True
    assert size_of_change(base, other, where) == pytest.approx(0.5)
    assert size_of_change(base, other, ~where) == 0.0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_none_any_more_has_moved_as_far_as_can_be(value: float) -> None:
    base = np.ones((1, 2, 3))
    other = base.copy()
    other[0, 1, 0] = value
    assert size_of_change(base, other, np.ones((1, 2), dtype=bool)) == np.inf


@pytest.mark.parametrize(
    ("size", "dtype", "coarse", "wanted"),
    [
        (0.0, "float64", None, "still"),
        (0.3, "float64", None, "leak"),
        (1e-15, "float64", 3e-7, "drift"),  # grows with the precision's own grain
        (1e-12, "float64", 1e-12, "leak"),  # as small in both: a weight of 1e-12
        (1e-15, "float64", None, "drift"),
        (1e-15, "float64", 0.0, "drift"),  # too small for float32 to show
        (1e-8, "float64", None, "unclear"),
        (1e-6, "float32", None, "drift"),
        (1e-3, "float32", None, "unclear"),
        (0.1, "float32", None, "leak"),
    ],
)
def test_verdicts(size: float, dtype: str, coarse: float | None, wanted: str) -> None:
    assert verdict(size, dtype, coarse) == wanted


def test_only_sequences_are_judged() -> None:
    outputs = {
        "states": np.zeros((3, 7, 5)),
        "pooled": np.zeros((3, 5)),
        "scores": np.zeros((3, 7)),
        "loss": np.zeros(()),
        "weights": np.zeros((3, 2, 7, 7)),
        "names": np.array([["a"] * 7] * 3),
    }
    assert list(sequences(outputs, batch=3, lengths={7})) == ["states", "scores"]
