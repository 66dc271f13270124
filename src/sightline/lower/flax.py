"""Destination ``flax``: the keyword ``mask`` of the attention of flax.linen and flax.nnx.

Their mask has our sense (True may attend) and our layout. An empty row comes out as the mean of all
values, with gradients to match.
"""

from __future__ import annotations

from typing import Any

from sightline.lower.arguments import Asked
from sightline.lower.destinations import Destination

DESTINATION = Destination(
    name="flax",
    gives="the keyword mask of dot_product_attention and of the multi-head layers of flax.linen "
    "and flax.nnx, as a numpy array",
    expresses="every mask without empty rows",
    refuses="empty rows: flax gives the mean of all values for them, padding included",
    in_principle="the same",
)


def translate(asked: Asked) -> dict[str, Any]:
    """Return ``{"mask": bools [batch|1, heads|1, q_len, kv_len]}``, all that the calls need.

    For ``dot_product_attention``, ``MultiHeadDotProductAttention`` and ``MultiHeadAttention`` of
    ``flax.linen`` and ``flax.nnx``, of inputs with one batch axis. In decode mode the layers look
    at their cache with a mask of [batch|1, heads|1, 1, length of the cache]: ask for that shape, at
    the ``q_offset`` of the step.

    Raises:
        CannotExpress: a row that may see nothing.

    Source: the documentation of flax.nnx.dot_product_attention and flax.nnx.MultiHeadAttention.

    >>> import sightline as sl
    >>> sl.lower(sl.window(left=1, right=0), to="flax", q_len=2, kv_len=3, q_offset=1)
    {'mask': array([[[[ True,  True, False],
             [False,  True,  True]]]])}
    """
    asked.refuse_empty_rows(
        DESTINATION.name,
        reason="flax gives the mean of all values for them, and gradients to match",
        alternative='to="jax.dot_product_attention", which can say it of the last queries; or let '
        "these rows see something, and set their output to 0 with jnp.where",
    )
    return {"mask": asked.dense}
