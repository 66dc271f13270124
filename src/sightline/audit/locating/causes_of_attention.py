"""Rules for attention: what is wrong with the mask that reached it, in a sentence.

They compare which keys each query could see at the guilty operation with the contract. Other
operations stand in causes_elsewhere.py.
"""

from __future__ import annotations

from functools import reduce
from operator import and_, or_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.audit.locating.case import Bools, Case
from sightline.masks.nodes import And
from sightline.masks.text import short
from sightline.recognize.recognize import find

_ATTENTION = ("softmax", "scaled_dot_product_attention", "multi_head_attention_forward")
# Scores below this are meant to be hidden, whether they are or not.
_WEAKEST = -5e4
# The most scores of which an expression is looked for.
_MOST = 200_000


def wrong_axis(case: Case) -> str:
    """The softmax runs over another axis than the keys."""
    if case.name != "softmax" or case.axis is None or case.facts is None:
        return ""
    axes = case.facts.axes
    if axes is None or case.axis != axes.sequence:
        return ""
    if axes.keys is None:
        return (
            f"the softmax runs over the whole sequence (dim={case.axis}), over positions that must "
            "not be seen included; mask them, or run it over the features (dim=-1)"
        )
    return f"the softmax runs over the queries (dim={case.axis}), not over the keys; use dim=-1"


def empty_rows(case: Case) -> str:
    """A query that may see nothing gets the mean of everything."""
    seen, scores = case.visible, case.scores
    if seen is None or scores is None or case.facts is None:
        return ""
    empty = ~seen.any(axis=-1)
    if not empty.any() or not np.isfinite(scores[empty]).all():
        return ""
    return (
        "a query that may see nothing gets the mean of all keys: a row of one large negative "
        "constant is uniform after the softmax; set such outputs to 0, or hide by -inf and bools"
    )


def no_mask(case: Case) -> str:
    """Nothing is hidden from any query."""
    if case.facts is None or case.name not in _ATTENTION:
        return ""
    if case.name == "scaled_dot_product_attention" and case.facts.mask == "none":
        return (
            "scaled_dot_product_attention is called without attn_mask and with is_causal=False; "
            'pass the mask (sl.lower(mask, to="torch.sdpa", q_len=...)), or is_causal=True'
        )
    if case.name == "multi_head_attention_forward" and case.facts.mask == "none":
        return "nn.MultiheadAttention is called without attn_mask; is_causal alone is only a hint"
    if case.facts.mask != "in scores" or case.visible is None or not case.visible.all():
        return ""
    features = case.facts.axes is not None and case.facts.axes.keys is None
    if features or soft(case):
        return ""
    return (
        "no mask reaches the softmax: every query sees every key; is the result of masked_fill "
        "thrown away (it is not in place; masked_fill_ is), or the mask not passed on?"
    )


def soft(case: Case) -> str:
    """A mask lowers scores a little and hides nothing."""
    if case.scores is None or case.allowed is None or case.facts is None:
        return ""
    if case.facts.mask == "float" and set(np.unique(case.scores).tolist()) == {0.0, 1.0}:
        return (
            "a mask of the numbers 0 and 1 is added to the scores and hides nothing; convert "
            "it to bool, or to 0 and -inf (torch.where(mask, 0.0, -torch.inf))"
        )
    if not _fits(case.allowed, case.scores):
        return ""
    shape = np.broadcast_shapes(case.allowed.shape, case.scores.shape)
    allowed, scores = np.broadcast_to(case.allowed, shape), np.broadcast_to(case.scores, shape)
    hidden, shown = scores[~allowed], scores[allowed & np.isfinite(scores)]
    if not hidden.size or not shown.size or hidden.min() < _WEAKEST:
        return ""
    gap = float(shown.mean()) - float(hidden.mean())
    doubt = 4 * float(np.sqrt(shown.var() / shown.size + hidden.var() / hidden.size))
    if not hidden.any() and shown.all():
        return (
            "the mask is multiplied into the scores: those of forbidden keys become 0, which is a "
            "score like any other; use masked_fill(~mask, -torch.inf)"
        )
    if abs(gap - 1) < max(doubt, 1e-6) < 0.4:
        return (
            "the scores of forbidden keys are only 1 lower: a mask of the numbers 0 and 1 was "
            "added to them; convert it to bool and use masked_fill(~mask, -torch.inf)"
        )
    if gap > max(2.0, 2 * doubt):
        return (
            f"the mask is too weak: forbidden scores are about {gap:.3g} lower and keep some "
            "weight; use -inf, or bools"
        )
    return ""


def replaced_by_a_hint(case: Case) -> str:
    """The layer takes ``is_causal`` instead of the mask that it is given."""
    if case.name != "multi_head_attention_forward" or case.facts is None:
        return ""
    values = case.facts.values
    given = "attn_mask" in case.facts.shapes and "key_padding_mask" not in case.facts.shapes
    if not given or not values.get("is_causal") or values.get("need_weights", True):
        return ""
    return (
        "nn.MultiheadAttention with is_causal=True and need_weights=False does not read attn_mask: "
        "it attends causally; leave is_causal out unless the mask is plainly causal"
    )


def missing_part(case: Case) -> str:
    """The mask that arrives is the contract without one of its parts."""
    seen, declared = case.visible, case.declared
    if seen is None or not isinstance(declared, And):
        return ""
    if case.allowed is None or _same(seen, case.allowed):
        return ""
    for part in declared.parts:
        rest = reduce(and_, [each for each in declared.parts if each is not part])
        if _same(seen, rest.dense(*seen.shape[2:])):
            return (
                f"of the contract, {short(part)} does not reach attention, where the mask is "
                f"{short(rest)}; combine them (&) and pass on what comes of it"
            )
    return ""


def some_heads(case: Case) -> str:
    """Some heads have the mask and others have none."""
    seen = case.visible
    if seen is None or seen.shape[1] < 2:
        return ""
    bare = np.asarray(seen.all(axis=(0, 2, 3)))
    if not bare.any() or bare.all():
        return ""
    return (
        f"{int(bare.sum())} of {bare.size} heads see every key: the mask reaches the others only; "
        "give it an axis of heads of size 1, [batch, 1, queries, keys]"
    )


def some_rows(case: Case) -> str:
    """The mask of one batch row is used for all."""
    seen, allowed = case.visible, case.allowed
    if seen is None or allowed is None or allowed.shape[0] < 2 or not _fits(seen, allowed):
        return ""
    if not (seen == allowed[:1]).all() or not (allowed != allowed[:1]).any():
        return ""
    return "the mask of the first batch row is used for every row; give it its axis of batch"


def inverse(case: Case) -> str:
    """What is hidden is what should be seen."""
    seen, allowed = case.visible, case.allowed
    if seen is None or allowed is None:
        return ""
    # A row that is hidden as a whole may be seen as a whole.
    rows = np.asarray(~seen.all(axis=-1, keepdims=True))
    itself = np.eye(*allowed.shape[2:], dtype=bool)
    for other, how in ((~allowed, ""), (~allowed | itself, ", but for the diagonal")):
        if _same(seen, other, rows):
            return (
                f"the mask is inverted{how}, it hides what the contract allows: {_polarity(case)}; "
                "invert it (~mask), and check tril against triu"
            )
    turned = allowed.swapaxes(-1, -2)
    if _square(allowed) and _same(seen, turned, rows) and not _same(seen, allowed):
        return (
            "the mask is transposed, queries for keys: swap its last two axes (mask.mT), or check "
            "tril against triu"
        )
    return ""


def shifted(case: Case) -> str:
    """The mask is right but for a key or two at its edge."""
    seen, allowed = case.visible, case.allowed
    if seen is None or allowed is None or _same(seen, allowed):
        return ""
    for keys in (1, 2, -1, -2):
        step = 1 if keys > 0 else -1
        wider = reduce(or_, [_moved(allowed, by) for by in range(step, keys + step, step)], allowed)
        if _same(seen, wider):
            side, hint = "after", "look at the diagonal of tril, triu, or at < against <="
            if keys < 0:
                side, hint = "before", "a window of W keys reaches W - 1 back; look at < against <="
            return (
                f"each query sees {'one key' if abs(keys) == 1 else '2 keys'} too many (off by "
                f"{'one' if abs(keys) == 1 else 'two'}), next {side} those allowed: {hint}"
            )
    return ""


def on_queries(case: Case) -> str:
    """A padding mask hides queries instead of keys."""
    seen, allowed = case.visible, case.allowed
    if seen is None or allowed is None or allowed.shape[0] < 2 or not _square(allowed):
        return ""
    hides_keys = not np.asarray(allowed.any(axis=(1, 2))).all()
    whole = seen.all(axis=-1) | ~seen.any(axis=-1)
    if not hides_keys or not whole.all() or seen.all():
        return ""
    return (
        "whole queries are hidden instead of keys: the padding mask lies on the axis of the "
        "queries; unsqueeze it to [batch, 1, 1, keys]"
    )


def beyond_a_size(case: Case) -> str:
    """The mask ends: what is longer than its buffer is not masked."""
    wrong, either = _more(case)
    columns = np.flatnonzero(wrong.any(axis=0))
    if not columns.size:
        return ""
    size = int(columns[0])
    if not 2 <= size < wrong.shape[1] - 2 or not either[:, size:].all():
        return ""
    return (
        f"positions from {size} on are visible to everybody: the mask is a buffer of size {size}, "
        "and the sequence is longer; make it for the length of the input"
    )


def prefix(case: Case) -> str:
    """The first positions are visible to everybody."""
    wrong, either = _more(case)
    columns = np.flatnonzero(wrong.any(axis=0))
    if not columns.size:
        return ""
    count = int(columns[-1]) + 1
    if count > wrong.shape[1] // 2 or not either[:, :count].all():
        return ""
    keys = "key is" if count == 1 else f"{count} keys are"
    return f"the first {keys} visible to everybody, as in a prefix-LM: take that out"


def sees_more(case: Case) -> str:
    """The mask that arrives allows more than the contract."""
    wrong, _ = _more(case)
    if not wrong.any() or case.visible is None:
        return ""
    query, key = (int(each) for each in np.argwhere(wrong)[0])
    what = _expression(case.visible)
    return (
        f"the mask that reaches attention {f'is {what} and ' if what else ''}lets query {query} "
        f"see key {key}, which the contract forbids ({int(wrong.sum())} such pairs)"
    )


# -- helpers --------------------------------------------------------------------------------------


def _more(case: Case) -> tuple[Bools, Bools]:
    """Return bool ``[queries, keys]``: forbidden but seen in a row; forbidden in none or seen."""
    seen, allowed = case.visible, case.allowed
    if seen is None or allowed is None or not _fits(seen, allowed):
        return np.zeros((1, 1), dtype=bool), np.zeros((1, 1), dtype=bool)
    wrong, either = (seen & ~allowed).any(axis=(0, 1)), (seen | allowed).all(axis=(0, 1))
    return np.asarray(wrong), np.asarray(either)


def _fits(one: NDArray[Any], other: NDArray[Any]) -> bool:
    try:
        np.broadcast_shapes(one.shape, other.shape)
    except ValueError:
        return False
    return True


def _same(one: Bools, other: Bools, rows: Bools | None = None) -> bool:
    """Return whether two masks are equal, perhaps in some rows only; at least in one."""
    if not _fits(one, other):
        return False
    same = one == other
    return bool(same.all() if rows is None else rows.any() and (same | ~rows).all())


def _square(cells: Bools) -> bool:
    return cells.shape[-1] == cells.shape[-2]


def _moved(cells: Bools, keys: int) -> Bools:
    """Return the mask with its keys moved by some positions."""
    moved = np.zeros_like(cells)
    if keys > 0:
        moved[..., keys:] = cells[..., :-keys]
    else:
        moved[..., :keys] = cells[..., -keys:]
    return moved


def _expression(seen: Bools) -> str:
    """Return the mask as an expression, if it has a short one."""
    if seen.size > _MOST:
        return ""
    found = repr(find(seen, 0, 2_000_000))
    return found if len(found) < 60 and "intervals" not in found else ""


def _polarity(case: Case) -> str:
    if case.name == "multi_head_attention_forward":
        return "in nn.MultiheadAttention True means ignore"
    if case.name == "scaled_dot_product_attention":
        return "in scaled_dot_product_attention True means attend"
    return "masked_fill fills where its mask is True"
