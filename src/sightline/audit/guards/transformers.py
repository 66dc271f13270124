"""Watches transformers' attention interface, through which most of its models attend.

Its eager functions add the mask to the scores, which nothing else would see, and its flex function
is compiled: both are looked at here. The sdpa functions end in torch's, which sdpa.py watches.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

from sightline.audit.guards.flex import see_block_mask
from sightline.audit.guards.here import HERE, Given, with_four_axes
from sightline.audit.guards.records import Call

EAGER = "transformers' eager attention"
FLEX = "transformers' flex_attention"


def watched_interface(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``AttentionInterface.get_interface`` whose functions are watched."""

    @wraps(original)
    def get_interface(self: Any, attn_implementation: str, default: Any) -> Any:
        function = original(self, attn_implementation, default)
        if torch.compiler.is_compiling() or not HERE.sessions or HERE.inside:
            return function
        if attn_implementation == "eager":
            return _watched(function, _look_eager)
        if attn_implementation == "flex_attention":
            return _watched(function, _look_flex)
        return _watched_sdpa(function) if attn_implementation == "sdpa" else function

    return get_interface


def _watched(function: Callable[..., Any], look: Callable[..., None]) -> Callable[..., Any]:
    @wraps(function)
    def watched(module: Any, query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> Any:
        mask = rest[0] if rest else named.get("attention_mask")
        look(query, key, mask)
        HERE.inside = True
        try:
            return function(module, query, key, value, *rest, **named)
        finally:
            HERE.inside = False

    return watched


def _watched_sdpa(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def watched(module: Any, query: Any, *rest: Any, **named: Any) -> Any:
        before, HERE.one_query = HERE.one_query, query.ndim == 4 and query.shape[2] == 1
        try:
            return function(module, query, *rest, **named)
        finally:
            HERE.one_query = before

    return watched


def _look_eager(query: Any, key: Any, mask: Any) -> None:
    """Look at a call ``[batch, heads, length, dim]`` whose mask is added to the scores."""
    if not _plain(query, key) or (mask is not None and not isinstance(mask, torch.Tensor)):
        return
    if not HERE.readable(EAGER, query, key, mask):
        return
    sizes = max(query.shape[0], key.shape[0]), query.shape[1], query.shape[2], key.shape[2]
    given: tuple[Given, ...] = ()
    if mask is not None:
        tensor = with_four_axes(mask[..., : key.shape[2]], sizes)
        if tensor is None:
            return
        means = "added" if mask.is_floating_point() else "attend"
        given = (Given("attention_mask", tuple(mask.shape), means, tensor),)
    read = HERE.parts(EAGER, *given)
    if read is not None and 0 not in sizes:
        dtype = str(query.dtype).removeprefix("torch.")
        HERE.see(Call(EAGER, *sizes, dtype, read[0], empty="average", step=read[1]))


def _look_flex(query: Any, key: Any, mask: Any) -> None:
    from torch.nn.attention.flex_attention import BlockMask

    if not _plain(query, key) or not HERE.readable(FLEX, query, key):
        return
    if mask is None or isinstance(mask, BlockMask):
        sizes = query.shape[0], query.shape[1], query.shape[2], key.shape[2]
        see_block_mask(FLEX, sizes, query.dtype, mask)
    else:
        HERE.unseen(f"{FLEX}: its mask is not a BlockMask")


def _plain(query: Any, key: Any) -> bool:
    tensors = isinstance(query, torch.Tensor) and isinstance(key, torch.Tensor)
    return tensors and query.ndim == key.ndim == 4
