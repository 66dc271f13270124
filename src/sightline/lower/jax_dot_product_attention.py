"""Destination ``jax.dot_product_attention``: keywords of ``jax.nn.dot_product_attention``.

Its bool mask has our sense (True may attend), its layout is [batch, length, heads, head_dim]. An
empty row comes out as the mean of all values; only ``query_seq_lengths`` makes rows 0.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InvalidArgument
from sightline.lower.arguments import Asked, require_module
from sightline.lower.destinations import Destination
from sightline.lower.forms.shortcut import shortcut

DESTINATION = Destination(
    name="jax.dot_product_attention",
    gives="the keywords mask, is_causal, query_seq_lengths, key_value_seq_lengths and "
    "local_window_size of jax.nn.dot_product_attention, as numpy arrays",
    expresses="every mask whose empty rows, if any, are the last queries of a batch row, in all "
    "of its heads; the batch size needs batch= if there are some and the mask does not tell it",
    refuses="other empty rows: jax gives the mean of all values for them, padding included; and "
    "those last ones where the installed jax, tried out on the spot, does not give 0 for them",
    in_principle="the same",
    options=("batch",),
)

NAME = DESTINATION.name


def translate(asked: Asked, batch: int | None = None) -> dict[str, Any]:
    """Return mask, is_causal and the three other keywords that jax would combine with them.

    ``mask`` is bool [batch|1, heads|1, q_len, kv_len] for inputs of [batch, length, heads,
    head_dim]. It is None only where every pair is allowed at this shape, or where
    ``is_causal=True`` says exactly this mask. ``query_seq_lengths`` [batch] is given where the last
    queries may see nothing: jax sets their output to 0, and with it their gradients.

    Args:
        asked: the mask and its shape.
        batch: the batch size; needed where the last queries may see nothing and the mask is the
            same for every batch row.

    Raises:
        CannotExpress: a row that may see nothing before one that may see something, or in some
            heads only; or no keys at all; or any such row with a jax that does not give 0 beyond
            ``query_seq_lengths`` (0.6 does not, 0.10 does).
        InvalidArgument: ``batch`` is needed and was not given.
        ShapeMismatch: ``batch`` differs from the mask's own.
        MissingExtra: jax is not installed and there is something to try out.

    Source: the documentation of jax.nn.dot_product_attention.

    >>> import sightline as sl
    >>> keywords = sl.lower(sl.causal(), to="jax.dot_product_attention", q_len=4)
    >>> keywords["mask"], keywords["is_causal"]
    (None, True)
    >>> mask = sl.causal() & sl.padding(lengths=[2, 1]).T
    >>> sl.lower(mask, to="jax.dot_product_attention", q_len=2)["query_seq_lengths"]
    array([2, 1], dtype=int32)
    """
    lengths = _query_lengths(asked, batch)
    form = shortcut(asked.dense)
    return {
        "mask": asked.dense if form is None else None,
        "is_causal": form == "causal",
        "query_seq_lengths": lengths,
        "key_value_seq_lengths": None,
        "local_window_size": None,
    }


def _query_lengths(asked: Asked, batch: int | None) -> NDArray[np.int32] | None:
    """Return up to which query each batch row sees something; None if all do."""
    rows = asked.batch_rows(batch, NAME)
    if not asked.empty_rows.any():
        return None
    lengths = asked.q_len - np.count_nonzero(asked.empty_rows[:, 0], axis=-1)
    at_the_end = np.arange(asked.q_len) >= lengths[:, None, None]
    if asked.kv_len == 0 or not (asked.empty_rows == at_the_end).all():
        asked.refuse_empty_rows(
            NAME,
            reason="jax gives the mean of all values for them, and gradients to match, but for "
            "the last queries of a batch row in all heads (query_seq_lengths)",
            alternative="let these rows see something, and set their output to 0 with jnp.where",
        )
    if not keeps_last_rows():
        asked.refuse_empty_rows(
            NAME,
            reason="the installed jax gives the mean of all values for them, whatever "
            "query_seq_lengths says",
            alternative="a newer jax (0.10 gives 0), or set their output to 0 with jnp.where",
        )
    if rows == 1 and batch is None:
        raise InvalidArgument(
            f"got no batch for {NAME}; the last queries may see nothing, which takes the form of "
            "query_seq_lengths [batch]; pass batch=."
        )
    return np.broadcast_to(lengths, (rows,)).astype(np.int32)


@lru_cache(maxsize=1)
def keeps_last_rows() -> bool:
    """Try out, once, whether the installed jax gives 0 for queries beyond their length."""
    jax: Any = require_module("jax", f"sl.lower(..., to={NAME!r})", extra="jax")
    ones, length = np.ones((1, 2, 1, 4), dtype=np.float32), np.ones(1, dtype=np.int32)
    with jax.ensure_compile_time_eval():
        output = jax.nn.dot_product_attention(ones, ones, ones, query_seq_lengths=length)
    return np.asarray(output)[0, :, 0].tolist() == [[1.0] * 4, [0.0] * 4]
