"""Does a text give the same outputs in one pass, in chunks, and token by token through a cache?

How models keep a cache stands in caches.py. A way of cutting counts as one pass: it runs each
token once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, cast

import numpy as np

from sightline.audit.contracts import CacheParity, Clause
from sightline.audit.findings import Finding, Pair
from sightline.audit.probing.feed import Feed, Input
from sightline.audit.probing.hints import sizes_of
from sightline.audit.probing.subject import Condition, Outputs, why_failed
from sightline.audit.probing.torch_conditions import parameters_of, valid_rows
from sightline.audit.properties.caches import Text, protocol_of, run_pieces
from sightline.audit.properties.comparing import (
    Gap,
    Passes,
    gap_of,
    inference,
    judged_outputs,
    largest,
    named_inputs,
)
from sightline.audit.properties.places import place_apart
from sightline.errors import InvalidArgument, SightlineError

if TYPE_CHECKING:
    from sightline.audit.probing.examination import Examination

# Single tokens that are run one after another; a longer rest goes in at once.
MOST_TOKENS = 48


@dataclass(frozen=True, eq=False)
class _Way:
    """A text, cut."""

    name: str
    text: Text
    splits: tuple[int, ...]


def examine(examination: Examination, clause: Clause) -> Iterable[Finding]:
    """Return what breaks ``cache_parity()``."""
    model, feed = examination.subject.model, examination.feed
    protocol_of(model, examination.subject.name, feed.batch, max(feed.lengths))
    passes = Passes(examination, clause)
    conditions = [c for c in inference(passes) if _is_whole(c, feed)] or examination.conditions[:1]
    ways = _ways(passes)
    found: dict[str, tuple[_Way, Gap]] = {}
    agreed: list[str] = []
    broken: list[str] = []
    held: list[str] = []
    for place, condition in enumerate(conditions):
        if place and passes.spent:
            break
        wrong = False
        for way in ways if place == 0 else ways[:1]:
            gap = passes.parity(
                lambda coarse, w=way, c=condition: _apart(passes, w, c, coarse), condition
            )
            if gap is not None:
                wrong = True
                found.setdefault(way.name, (way, gap))
            elif place == 0:
                agreed.append(way.name)
        (broken if wrong else held).append(condition.name)
    if not found:
        return []
    return [_finding(passes, list(found.values()), agreed, broken, held)]


def _is_whole(condition: Condition, feed: Feed) -> bool:
    """Return whether a condition neither pads, nor gives masks, nor refuses a cache.

    Gradients do: caches are written in place.
    """
    if "gradients" in condition.name:
        return False
    given = condition.given(feed)
    return condition.valid is None and not any("mask" in n or n == "use_cache" for n in given)


def _ways(passes: Passes) -> list[_Way]:
    text = _text(passes)
    size = text.length
    asked = cast("CacheParity", passes.clause.promise).splits
    if asked:
        rest = size - sum(asked)
        if rest < 0:
            raise InvalidArgument(
                f"cache_parity got chunks of {list(asked)}, {sum(asked)} positions in all, and the "
                f"inputs have {size}; leave some out."
            )
        return [_Way(f"chunks of {list(asked)}", text, (*asked, *_singles(rest)))]
    if size < 4:
        raise InvalidArgument(f"cache_parity wants at least 4 positions, got {size}.")
    first, second = size // 3, size // 4
    late = size * 2 // 3
    found = [
        _Way(f"a prompt of {first} and single tokens", text, (first, *_singles(size - first))),
        _Way(f"a prompt of {late} and single tokens", text, (late, *_singles(size - late))),
        _Way(
            f"chunks of {first}, {second} and {size - first - second}",
            text,
            (first, second, size - first - second),
        ),
    ]
    left = _left_padded(passes, text)
    if left is not None:
        name = f"a left-padded prompt of {late} and single tokens"
        found.append(_Way(name, left, (late, *_singles(size - late))))
    return found


def _singles(count: int) -> tuple[int, ...]:
    rest = (count - MOST_TOKENS,) if count > MOST_TOKENS else ()
    return (*[1] * min(count, MOST_TOKENS), *rest)


def _text(passes: Passes) -> Text:
    feed = passes.examination.feed
    names = named_inputs(passes.clause, feed)
    target = next((name for name in names if name.startswith("decoder")), names[0])
    mask = "decoder_attention_mask" if target.startswith("decoder") else "attention_mask"
    return Text(feed, target, (mask,) if mask in feed.inputs else ())


def _left_padded(passes: Passes, text: Text) -> Text | None:
    """Return the text with some rows padded on the left, if the model can be told of it."""
    model = passes.examination.subject.model
    taken = parameters_of(model)
    feed = text.feed
    told = "attention_mask" in taken and "past_key_values" in taken
    if text.masks or text.target.startswith("decoder") or not told:
        return None
    valid = valid_rows(feed.batch, text.length, "left")
    extra = [Input("attention_mask", valid.astype(np.int64), "fixed")]
    if "position_ids" in taken and "position_ids" not in feed.inputs:
        places = np.maximum(valid.cumsum(axis=1) - 1, 0)
        extra.append(Input("position_ids", places, "fixed"))
    return replace(text, feed=feed.having(*extra), masks=("attention_mask",))


def _apart(passes: Passes, way: _Way, condition: Condition, coarse: bool) -> Gap | None:
    feed = way.text.feed
    whole = passes.run(feed, condition, coarse)
    parts = _parts(passes, way, condition, coarse)
    if whole is None or parts is None:
        return None
    gaps: list[Gap] = []
    for name, before in judged_outputs(whole, feed.batch, passes.clause).items():
        after = parts.get(name)
        if after is None or after.shape != before.shape:
            continue
        known = ~np.isnan(after) | np.isnan(before)
        real = known.reshape(*before.shape[:2], -1).any(axis=-1) & _real(way.text)
        gaps.append(gap_of(name, before, after, {way.text.length}, real))
    if not gaps:
        passes.note(f"with {way.name} no output of every token comes back; nothing was compared")
    return largest(gaps)


def _real(text: Text) -> np.ndarray:
    """Return bool ``[batch, length]``: which positions are no padding."""
    for name in text.masks:
        values = text.feed.inputs[name].values
        if values.shape == (text.feed.batch, text.length):
            return values.astype(bool)
    return np.ones((text.feed.batch, text.length), dtype=bool)


def _parts(passes: Passes, way: _Way, condition: Condition, coarse: bool) -> Outputs | None:
    subject = passes.subject(coarse)
    if subject is None:
        return None
    passes.examination.counter.done += 1
    try:
        under = passes.bound(condition, coarse)
        return run_pieces(subject, under, way.text, way.splits, passes.examination.seed)
    except SightlineError:
        raise
    except Exception as error:
        passes.note(f"not run with {way.name}: {why_failed(error)}")
        return None


def _finding(
    passes: Passes,
    found: list[tuple[_Way, Gap]],
    agreed: list[str],
    broken: list[str],
    held: list[str],
) -> Finding:
    way, gap = found[0]
    ends = list(accumulate(way.splits))
    cuts = [(None, end - count, end) for count, end in zip(way.splits, ends, strict=True)]
    under = next(c for c in passes.examination.conditions if c.name == broken[0])
    pieces = lambda: _parts(passes, way, under, coarse=False)  # noqa: E731
    place = place_apart(passes, under, way.text.feed, pieces, cuts, way.text.length)
    also = f"; {', '.join(agreed)}: no difference" if agreed else ""
    return Finding(
        "parity",
        str(passes.clause),
        f"with {' and with '.join(w.name for w, _ in found)}, {gap.where} is another one than in "
        f"one pass{also}",
        input=way.text.target,
        output=gap.output,
        conditions=tuple(broken),
        held=tuple(held),
        pairs=(Pair(gap.row, gap.position, -1),) if gap.position >= 0 else (),
        size=gap.size,
        place=place,
        cause=_cause(passes, way, gap, [w.splits for w, _ in found], bool(agreed)),
    )


def _cause(
    passes: Passes, way: _Way, gap: Gap, wrong: list[tuple[int, ...]], some_agree: bool
) -> str:
    if gap.position < way.splits[0]:
        return "the first pass itself is another one when a cache is asked for"
    if some_agree and all(splits[1] > 1 for splits in wrong):
        return (
            "single tokens are right and longer chunks behind a cache are not: is_causal counts "
            "from the top left there (give the mask of the absolute positions), or a state is "
            "carried over to single tokens only"
        )
    if gap.position == way.splits[0]:
        return (
            "the first new token is wrong already: its position does not go on where the cache "
            "ends (rotary or learned positions off by one), the mask leaves out cached keys, or "
            "keys are stored in another state than they are read in"
        )
    model = passes.examination.subject.model
    near = [w for w in sizes_of(model).windows if abs(gap.position - w) <= 2]
    about = f" (the model has a {near[0]} of that size)" if near else ""
    return (
        f"the first {gap.position} positions agree{about}: a cache that keeps a window overwrites "
        "the wrong slot, drops a key too early or keeps one too long"
    )
