"""Destination ``numpy.additive``: floats to add to the scores before softmax."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sightline.errors import InvalidArgument
from sightline.lower.arguments import Asked
from sightline.lower.destinations import Destination

DESTINATION = Destination(
    name="numpy.additive",
    gives="a float array [batch|1, heads|1, q_len, kv_len] to add to the scores: 0 or -inf "
    '(constant="min": the most negative finite number)',
    expresses='every mask; with constant="min" every mask without empty rows',
    refuses='empty rows with constant="min": softmax would make them the mean of all values',
    in_principle="every mask; a finite constant cannot say that a row is empty",
    options=("dtype", "constant"),
)


def translate(
    asked: Asked, dtype: DTypeLike = np.float32, constant: str = "-inf"
) -> NDArray[np.floating[Any]]:
    """Return floats ``[batch|1, heads|1, q_len, kv_len]``: 0 may attend, the constant may not.

    Args:
        asked: the mask and its shape.
        dtype: float16, float32 or float64.
        constant: "-inf", or "min" for the most negative finite number of the dtype.

    Raises:
        CannotExpress: ``constant="min"`` and a row that may see nothing: adding the same finite
            number to all scores leaves softmax as it was, so the row would be a mean of values.
        InvalidArgument: another dtype or constant.

    >>> import sightline as sl
    >>> sl.lower(sl.causal(), to="numpy.additive", q_len=2, dtype="float16")[0, 0]
    array([[  0., -inf],
           [  0.,   0.]], dtype=float16)
    """
    floats = _float_dtype(dtype)
    if constant not in ("-inf", "min"):
        raise InvalidArgument(
            f'got constant={constant!r} for numpy.additive; wanted "-inf" or "min" (the most '
            "negative finite number); other constants are too weak or overflow."
        )
    if constant == "min":
        asked.refuse_empty_rows(
            f'{DESTINATION.name} with constant="min"',
            reason="a finite constant on a whole row cancels in softmax, which gives the mean of "
            "values that the row may not see",
            alternative='constant="-inf" with a softmax that handles empty rows, or sl.attend',
        )
    forbidden = -np.inf if constant == "-inf" else np.finfo(floats).min
    return np.where(asked.dense, floats.type(0), floats.type(forbidden))


def _float_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    try:
        floats = np.dtype(dtype)
    except TypeError:
        floats = None
    if floats is None or floats not in (np.float16, np.float32, np.float64):
        raise InvalidArgument(
            f"got dtype={dtype!r} for numpy.additive; wanted float16, float32 or float64; bools "
            "come from numpy.bool."
        )
    return floats
