"""What is wrong with one call of attention: a function a check, facts in, findings out.

Each speaks only where the call as given makes no sense and the mistake is known; masks that are
merely unusual are nobody's business. Constants are judged in constants.py, several layers in
layers.py, declared masks in declared.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from sightline.audit.guards.constants import check_constants
from sightline.audit.guards.records import Call, Part, Said
from sightline.audit.guards.sight import (
    Sight,
    all_prefixes,
    any_over,
    differ_by_padding,
    empty_rows,
    inverted_causal,
    inverted_padding,
    is_causal,
    listed,
    padded_rows,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SENSE = {
    "attend": "True means may attend here",
    "ignore": "True means ignore here",
    "added": "it is added to the scores here, so 0 allows and -inf forbids",
    "nonzero": "what is not 0 forbids here",
}


def check_call(call: Call, sight: Sight) -> list[Said]:
    """Return what is wrong with one call, whatever other calls there are."""
    found = [said for check in _CHECKS for said in check(call)]
    # Where the mask itself is wrong, queries that see nothing are what comes of it.
    spoiled = {"inverted", "query-axis", "zero-one", "constants"}
    if call.whole and not spoiled & {said.check for said in found if said.severity == "error"}:
        found += check_empty_rows(call, sight)
    return found


# -- queries that see nothing ---------------------------------------------------------------------


def check_empty_rows(call: Call, sight: Sight) -> Iterator[Said]:
    """Report queries that may see nothing; padded ones, whose output nobody reads, as a note."""
    empty = empty_rows(sight)
    if not empty.any():
        return
    may_be_padding = call.self_attention is not False
    padded = may_be_padding and bool((~empty | padded_rows(sight, call.q_len)).all())
    comes = {
        "zero": "0",
        "nan": "NaN, as are the gradients of all that shares a weight with it",
        "average": "the mean of all values, forbidden ones included",
    }[call.empty]
    if call.empty == "nan":
        severity = "error"
    else:
        severity = "note" if padded or call.mask is not None else "warning"
    after = (
        "They are padding, whose output nobody should read."
        if severity == "note" and padded
        else "Let every query see a key, or use sl.attend, which gives 0 and passes no NaN on."
    )
    which = _which_rows(empty, sight)
    yield Said(
        "empty-rows", severity, f"{which} may see no key, and the output is {comes}. {after}"
    )


def _which_rows(empty: NDArray[np.bool_], sight: Sight) -> str:
    """Return in words which queries are empty."""
    batch, heads, _ = empty.shape
    which = [np.flatnonzero(row) for row in any_over(empty, 1)]
    rows = [index for index, each in enumerate(which) if len(each)]
    first = which[rows[0]]
    whole = len(first) == len(sight.rows)
    queries = "all queries" if whole else f"queries {listed(sight.rows[first])}"
    if not whole and len(first) == 1:
        queries = f"query {sight.rows[first[0]]}"
    if batch == 1:
        where = ""
    elif len(rows) == 1:
        where = f" of batch row {rows[0]}"
    else:
        where = f" of batch row {rows[0]}, and some of rows {listed(rows[1:])},"
    some = " in some heads" if heads > 1 and not empty.all(axis=1).any() else ""
    return f"{queries}{where}{some}"


# -- polarity -------------------------------------------------------------------------------------


def check_inverted(call: Call) -> Iterator[Said]:
    """Report a mask that makes no sense as given, and is a usual one the other way round."""
    rows = np.arange(0, call.q_len, call.step)
    for part in call.parts:
        allowed = part.table.allowed
        if part.learned or _odd_numbers(part):
            continue
        if not allowed.any():
            was = "forbids every key to every query, as a mask of all True read the other way does"
        elif allowed.shape[2] > 1 and inverted_causal(allowed, rows, call.q_len):
            was = "shows each query what follows it and hides itself and what came before"
        elif _is_padding(allowed) and inverted_padding(allowed[:, 0, 0]):
            was = "hides the keys of the longest rows and shows the padding of the others"
        else:
            continue
        yield Said(
            "inverted",
            "error",
            f"{part.name} {was}; {_SENSE[part.means]}. It is the wrong way round: pass "
            f"{_turned(part)}.",
        )


def _odd_numbers(part: Part) -> bool:
    """Return whether the numbers of a float mask are wrong, so that cells say nothing of sense."""
    numbers = part.table.numbers
    if numbers is None:
        return False
    return numbers.zero_one or numbers.nan or (part.means == "nonzero" and numbers.biased)


def _is_padding(allowed: NDArray[np.bool_]) -> bool:
    return allowed.shape[1] == 1 and bool((allowed == allowed[:, :, :1]).all())


def _turned(part: Part) -> str:
    if part.table.numbers is None:
        return f"~{part.name}"
    return "0 where a key may be seen and -inf where it may not"


# -- is_causal ------------------------------------------------------------------------------------


def check_is_causal(call: Call) -> Iterator[Said]:
    """Report ``is_causal`` beside a mask, without effect, or with lengths that differ."""
    if not call.said_causal:
        return
    pairs = next((p for p in call.parts if p.name not in ("key_padding_mask",)), None)
    if call.layout == "mha":
        yield from _causal_hint(call, pairs)
    elif pairs is not None:
        yield Said(
            "causal-and-mask",
            "warning",
            f"is_causal=True beside {pairs.name}: some kernels apply both, others refuse. Put "
            "both into one mask.",
        )
    if call.causal and call.q_len != call.kv_len:
        yield _causal_lengths(call)


def _causal_hint(call: Call, pairs: Part | None) -> Iterator[Said]:
    """Judge nn.MultiheadAttention's is_causal, which is a hint of what attn_mask is."""
    rows = np.arange(0, call.q_len, call.step)
    if pairs is None:
        if not call.causal:
            yield Said(
                "causal-ignored",
                "error",
                "is_causal=True without attn_mask does nothing on the fast path of inference: "
                "every query sees all keys. Pass attn_mask too.",
            )
        return
    allowed = np.broadcast_to(
        pairs.table.allowed, (*pairs.table.allowed.shape[:2], len(rows), call.kv_len)
    )
    numbers = pairs.table.numbers
    same = is_causal(allowed, rows, call.kv_len)
    if same and not (numbers is not None and numbers.biased):
        return
    lost = "its numbers" if same else f"{pairs.name}, which is another mask,"
    if call.causal and call.replaces:
        yield Said(
            "causal-and-mask",
            "error",
            f"is_causal=True replaces {pairs.name}: {lost} is lost in this call, and not in one "
            "with need_weights=True or a key_padding_mask. Leave is_causal out.",
        )
    else:
        yield Said(
            "causal-and-mask",
            "warning",
            f"is_causal=True is a hint that {pairs.name} is causal, and it is not. This call does "
            "not use the hint; one with need_weights=False and no key_padding_mask drops "
            f"{pairs.name} for it. Leave is_causal out.",
        )


def _causal_lengths(call: Call) -> Said:
    q_len, kv_len = call.q_len, call.kv_len
    last = min(q_len, kv_len) - 1
    return Said(
        "causal-lengths",
        "error" if q_len == 1 else "warning",
        f"is_causal=True with {q_len} queries and {kv_len} keys counts from the upper left: query "
        f"0 sees key 0 only, the last one keys 0-{last}. If the last query stands at the last key, "
        f"as in decoding with a cache, query 0 sees keys 0-{kv_len - q_len}: pass that mask, or "
        f"sl.attend(..., sl.causal(), q_offset={max(kv_len - q_len, 0)}).",
    )


# -- axes -----------------------------------------------------------------------------------------


def check_query_axis(call: Call) -> Iterator[Said]:
    """Report a mask that hides queries and no keys: padding on the wrong axis."""
    for part in call.parts:
        allowed = part.table.allowed
        if part.learned or part.name == "key_padding_mask" or allowed.shape[2] < 2:
            continue
        by_query = bool((allowed == allowed[..., :1]).all())
        if by_query and call.kv_len > 1 and allowed.any() and not allowed.all():
            yield Said(
                "query-axis",
                "error",
                f"{part.name} of shape {list(part.shape)} lets each query see all keys or none: "
                "it lies along the queries. To hide padded keys, give it the shape "
                "[batch, 1, 1, keys].",
            )


def check_batch_axis(call: Call) -> Iterator[Said]:
    """Report a padding mask of the batch that lines up with queries or heads by accident."""
    if call.layout != "sdpa" or call.batch < 2:
        return
    for part in call.parts:
        allowed = part.table.allowed
        if part.learned or call.step > 1:
            continue
        if len(part.shape) == 2 and part.shape[0] == call.batch == call.q_len:
            if _ragged(allowed[0, 0]):
                yield _axis_said(part, "queries", call.q_len, "mask[:, None, None, :]")
        elif (
            len(part.shape) == 3
            and part.shape[0] == call.batch == call.heads
            and differ_by_padding(allowed[0])
        ):
            yield _axis_said(part, "heads", call.heads, "mask[:, None]")


def _axis_said(part: Part, axis: str, size: int, fix: str) -> Said:
    return Said(
        "batch-axis",
        "warning",
        f"{part.name} of shape {list(part.shape)} looks like the padding of {size} batch rows, and "
        f"is read as one mask for all of them whose first axis are the {size} {axis}. If it is "
        f"padding, pass {fix}.",
    )


def _ragged(table: NDArray[np.bool_]) -> bool:
    """Return whether rows ``[queries, keys]`` keep one end each, in no order of lengths."""
    if table.shape[1] < 2 or not table.any(axis=1).all():
        return False
    steps = np.diff(table.sum(axis=1))
    if all_prefixes(table):
        return bool((steps < 0).any())
    return all_prefixes(table[:, ::-1]) and bool((steps > 0).any())


def check_batch_layout(call: Call) -> Iterator[Said]:
    """Report a mask ``[batch * heads, ...]`` of nn.MultiheadAttention with heads outermost."""
    if call.layout != "mha":
        return
    for part in call.parts:
        allowed = part.table.allowed
        if len(part.shape) != 3 or part.learned or min(allowed.shape[:2]) < 2:
            continue
        batch, heads = allowed.shape[:2]
        turned = allowed.reshape(heads, batch, *allowed.shape[2:])
        if (turned == turned[:1]).all() and differ_by_padding(turned[0]):
            yield Said(
                "batch-layout",
                "error",
                f"{part.name} of shape {list(part.shape)} repeats the {batch} batch rows {heads} "
                "times; wanted each row repeated for its heads, one after the other. Make it with "
                f"repeat_interleave({heads}, dim=0), not repeat({heads}, 1, 1).",
            )


_CHECKS: tuple[Callable[[Call], Iterator[Said]], ...] = (
    check_constants,
    check_inverted,
    check_is_causal,
    check_query_axis,
    check_batch_axis,
    check_batch_layout,
)
