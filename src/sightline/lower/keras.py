"""Destination ``keras``: keywords of the call of ``keras.layers.MultiHeadAttention`` (Keras 3).

Its bool mask has our sense (True may attend). The layer has two ways: fused, where an empty row
comes out as the mean of all values, and one that keeps the weights, where it comes out as 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sightline.errors import CannotExpress, InvalidArgument
from sightline.lower.arguments import Asked, require_module
from sightline.lower.destinations import Destination
from sightline.lower.forms.shortcut import shortcut

DESTINATION = Destination(
    name="keras",
    gives="the keywords attention_mask, use_causal_mask and return_attention_scores of the call "
    "of keras.layers.MultiHeadAttention, as numpy arrays, which every backend takes",
    expresses="every mask without empty rows; with return_attention_scores=True every mask",
    refuses="empty rows where the layer does not return its scores: its fused way gives the mean "
    "of all values for them",
    in_principle="the same",
    options=("return_attention_scores",),
)

NAME = DESTINATION.name


def translate(asked: Asked, return_attention_scores: bool = False) -> dict[str, Any]:
    """Return attention_mask, use_causal_mask and return_attention_scores: all that the call needs.

    ``attention_mask`` is bool [batch|1, q_len, kv_len], or [batch|1, heads, q_len, kv_len] where
    heads differ. It is None only where every pair is allowed at this shape, or where
    ``use_causal_mask=True`` says exactly this mask. Give it inputs that carry no masks of their own
    (of ``Embedding(mask_zero=True)``): Keras combines those with it, and where heads differ it
    takes the batch axis of those for heads.

    Args:
        asked: the mask and its shape.
        return_attention_scores: whether the layer shall return (output, scores). It then takes its
            slower way, in which empty rows are 0 (its bias of the output still adds to them).

    Raises:
        CannotExpress: a row that may see nothing, unless ``return_attention_scores`` and the
            installed Keras, tried out on the spot, gives weights of 0.
        InvalidArgument: ``return_attention_scores`` is no bool.
        MissingExtra: Keras is not installed and there is something to try out.

    Source: the documentation of keras.layers.MultiHeadAttention.

    >>> import sightline as sl
    >>> sl.lower(sl.causal(), to="keras", q_len=4)
    {'attention_mask': None, 'use_causal_mask': True, 'return_attention_scores': False}
    >>> mask = sl.causal() & sl.padding(lengths=[2, 1])
    >>> sl.lower(mask, to="keras", q_len=2)["attention_mask"].shape
    (2, 2, 2)
    """
    if not isinstance(return_attention_scores, bool):
        raise InvalidArgument(
            f"got return_attention_scores={return_attention_scores!r} for {NAME}; wanted True or "
            "False; True takes the way of the layer that can say empty rows."
        )
    if asked.empty_rows.any():
        _refuse_spoiled_rows(asked, return_attention_scores)
    form = shortcut(asked.dense)
    dense = asked.dense if asked.dense.shape[1] > 1 else asked.dense[:, 0]
    return {
        "attention_mask": dense if form is None else None,
        "use_causal_mask": form == "causal",
        "return_attention_scores": return_attention_scores,
    }


def _refuse_spoiled_rows(asked: Asked, scores: bool) -> None:
    if not scores:
        asked.refuse_empty_rows(
            NAME,
            reason="the fused way of the layer gives the mean of all values for them",
            alternative="return_attention_scores=True, with which the layer gives 0",
        )
    if not softmax_keeps_empty_rows():
        raise CannotExpress(
            destination=NAME,
            part=asked.name_an_empty_row() or "rows that may see nothing",
            reason="the softmax of this Keras does not give them weights of 0",
            alternative="Keras 3.15 or newer",
        )


def softmax_keeps_empty_rows() -> bool:
    """Try out whether the softmax layer of the installed Keras gives 0 for an empty row."""
    keras: Any = require_module("keras", f"sl.lower(..., to={NAME!r})", extra="keras")
    mask = np.array([[True, True], [False, False]])
    weights = keras.layers.Softmax()(np.zeros((2, 2), dtype=np.float32), mask=mask)
    return np.asarray(keras.ops.convert_to_numpy(weights)).tolist() == [[0.5, 0.5], [0.0, 0.0]]
