"""The front door of attention weights: weights and the mask they should obey in, a drawing out.

Reading and checking is attention.py's; the page is made in weights_page.py, still pictures in
weights_still.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.arguments import as_int
from sightline.views.drawing import Drawing, Kind
from sightline.views.labels import visible
from sightline.views.moving.arguments import check_choices, texts_of
from sightline.views.moving.attention import Attention, read_attention
from sightline.views.moving.weights_page import MOST_WEIGHTS, render_page
from sightline.views.moving.weights_still import render_still
from sightline.views.style import Theme

if TYPE_CHECKING:
    from sightline.masks.mask import Mask

__all__ = ["draw_weights"]

Which = int | Sequence[int] | None


def draw_weights(
    weights: Any,
    mask: Mask | Sequence[Mask],
    *,
    tokens: Sequence[str] | None = None,
    query_tokens: Sequence[str] | None = None,
    key_tokens: Sequence[str] | None = None,
    q_offset: int = 0,
    layer: Which = None,
    batch: Which = None,
    head: Which = None,
    to: Kind = "html",
    theme: Theme = "auto",
    title: str | None = None,
) -> Drawing:
    """Draw attention weights over the mask that they should obey.

    What the mask forbids is hatched: not in play. Weight there is orange and counted. What is not
    a number is marked, and so is every row that does not add up to 1 and is not empty. All of this
    is found on the numbers as given; a page keeps them in two bytes each, and says how exactly.

    Args:
        weights: after the softmax, of any library: ``[heads, Q, K]``, ``[batch, heads, Q, K]`` or
            ``[layers, batch, heads, Q, K]``, or a list of the first two over layers, such as
            ``sl.attention_weights`` or ``output_attentions=True`` give.
        mask: who may see whom; or a list with the mask of each layer.
        tokens: one for each key; queries are those from ``q_offset`` on.
        query_tokens: one for each query, where they are others.
        key_tokens: one for each key, where queries are others.
        q_offset: absolute position of the first query.
        layer: which layers, a number or several, counted from 0; None is all.
        batch: which batch rows.
        head: which heads.
        to: "html" answers to pointer and keys, with pickers and a small map of every head;
            "svg", "png" and "txt" show the chosen maps one beside the other.
        theme: "light", "dark", or "auto": as the reader's screen is set.
        title: what is drawn; None is the mask's text.

    Raises:
        InvalidArgument: weights or masks that are none, a number that is not there, no such
            ``to``, or too much for one drawing.
        ShapeMismatch: shapes or tokens that do not fit each other.
        MissingExtra: a PNG without matplotlib.

    >>> import numpy as np
    >>> import sightline as sl
    >>> even = np.tri(3) / np.arange(1, 4)[:, None]
    >>> print(sl.draw_weights(even[None], sl.causal(), to="txt", tokens=["I", "see", "you"]))
    causal(): head 0
         I  see you
    I    █   ·   ·
    see  ▓   ▓   ·
    you  ▒   ▒   ▒
    weight: ░ to 0.25  ▒ to 0.5  ▓ to 0.75  █ to 1   · may not attend
    no weight where none may be; every row adds up to 1
    """
    check_choices(to, theme)
    offset = as_int(q_offset, "q_offset", least=0, error=InvalidArgument)
    seen = read_attention(
        weights, mask, q_offset=offset, layer=layer, batch=batch, head=head, most=MOST_WEIGHTS
    )
    queries, keys = _labels(seen, offset, tokens, query_tokens, key_tokens)
    shown = _title(mask) if title is None else title
    if to == "html":
        return render_page(seen, queries, keys, offset, shown, theme)
    return render_still(seen, queries, keys, shown, to, theme)


def _title(mask: Mask | Sequence[Mask]) -> str:
    different = texts_of(mask)
    return different[0] if len(different) == 1 else f"{len(different)} masks by layer"


def _labels(
    seen: Attention,
    offset: int,
    tokens: Sequence[str] | None,
    query_tokens: Sequence[str] | None,
    key_tokens: Sequence[str] | None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what stands beside the rows, and above the columns."""
    queries, keys = seen.weights.shape[3:]
    if tokens is not None:
        if query_tokens is not None or key_tokens is not None:
            raise InvalidArgument("give tokens, or query_tokens and key_tokens, not both.")
        _check(tokens, keys, "tokens", "keys")
        if offset + queries > keys:
            raise ShapeMismatch(
                f"got {keys} tokens for queries {offset} to {offset + queries - 1}; queries beyond "
                "the keys want tokens of their own: query_tokens and key_tokens."
            )
        key_tokens, query_tokens = tokens, list(tokens)[offset : offset + queries]
    _check(query_tokens, queries, "query_tokens", "queries")
    _check(key_tokens, keys, "key_tokens", "keys")
    rows = [str(offset + n) for n in range(queries)] if query_tokens is None else query_tokens
    columns = [str(n) for n in range(keys)] if key_tokens is None else key_tokens
    return tuple(visible(str(t)) for t in rows), tuple(visible(str(t)) for t in columns)


def _check(tokens: Sequence[str] | None, size: int, name: str, what: str) -> None:
    if isinstance(tokens, str):
        raise InvalidArgument(f"got {name}={tokens!r}; wanted a list with one for each position.")
    if tokens is not None and len(tokens) != size:
        raise ShapeMismatch(
            f"{name} has {len(tokens)} of them for {size} {what}; give one for each."
        )
