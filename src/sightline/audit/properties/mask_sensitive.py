"""Does a mask that is given have an effect? A token that matters to others is hidden by it.

That it matters is known by changing the token itself. Masks of padding, whose form is known, are
made; others are tested where they are among the inputs, one key's bits turned round.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from sightline.audit.contracts import Clause, MaskSensitive
from sightline.audit.findings import Finding
from sightline.audit.probing.feed import Feed, Input
from sightline.audit.probing.judging import moved, size_of_change
from sightline.audit.probing.subject import Condition, Outputs
from sightline.audit.probing.torch_conditions import parameters_of
from sightline.audit.properties.comparing import Passes, judged_outputs
from sightline.audit.properties.padding import KNOWN, told
from sightline.errors import InvalidArgument

if TYPE_CHECKING:
    from sightline.audit.probing.examination import Examination

# Masks of padding, [batch, length], that can be made: what they mean, and whose padding it is.
_MADE = {
    **{name: (means, "") for name, means in KNOWN.items() if means != "lengths"},
    "src_key_padding_mask": ("ignore", "src"),
    "tgt_key_padding_mask": ("ignore", "tgt"),
    "memory_key_padding_mask": ("ignore", "memory"),
    "decoder_attention_mask": ("attend", "decoder"),
}
# A token matters if it moves others by this part of their size; a mask has no effect if hiding
# the token moves them by less than this part of that.
MATTERS, NOTHING = 1e-6, 1e-5


@dataclass(frozen=True, eq=False)
class _Trial:
    """A mask under which all may be seen, and one that hides a key from the others."""

    keyword: str
    target: str
    key: int
    open: Feed
    hidden: Feed


def examine(examination: Examination, clause: Clause) -> Iterable[Finding]:
    """Return what breaks ``mask_sensitive()``: one finding for each mask without effect."""
    passes = Passes(examination, clause)
    for keyword in _keywords(passes):
        finding = _examined(passes, keyword)
        if finding is not None:
            yield finding


def _keywords(passes: Passes) -> list[str]:
    examination = passes.examination
    feed, model = examination.feed, examination.subject.model
    taken = parameters_of(model) if model is not None else {}
    given = [n for n, e in feed.inputs.items() if "mask" in n and _is_mask(e)]
    asked = cast("MaskSensitive", passes.clause.promise).mask
    if asked is not None:
        if asked in given or (asked in _MADE and asked in taken):
            return [asked]
        takes = f"{examination.subject.name} takes {', '.join(taken) or ', '.join(feed.inputs)}."
        unknown = "give such a mask with inputs=, for its form is not known."
        raise InvalidArgument(
            f"mask_sensitive({asked!r}) cannot be tested: {unknown if asked in taken else takes}"
        )
    found = list(dict.fromkeys([*given, *(n for n in _MADE if n in taken and _whose(n, feed))]))
    if not found:
        raise InvalidArgument(
            f"{examination.subject.name} has no mask that could be tested: looked for "
            f"{', '.join(_MADE)} among its arguments and for masks among the inputs; give inputs= "
            "with a mask."
        )
    return found


def _is_mask(each: Input) -> bool:
    values = each.values
    return isinstance(values, np.ndarray) and values.ndim >= 2 and _flipped(values) is not None


def _whose(keyword: str, feed: Feed) -> str:
    """Return the input that a mask of padding speaks of; empty if it is not there."""
    prefix = _MADE[keyword][1] if keyword in _MADE else ""
    names = [n for n in feed.varying if not prefix or n.startswith(prefix)]
    return next((n for n in names if "position" not in n), "")


def _examined(passes: Passes, keyword: str) -> Finding | None:
    examination = passes.examination
    plain = examination.conditions[0]
    trial, matters = None, 0.0
    for part in (4, 2):
        trial = _trial(passes, keyword, part)
        if trial is None:
            return None
        matters = _matters(passes, trial, plain)
        if matters > MATTERS:
            break
    assert trial is not None
    if matters <= MATTERS:
        passes.note(f"{keyword}: no output depends on another token, so that no mask could matter")
        return None
    broken: list[str] = []
    held: list[str] = []
    for condition in examination.conditions:
        masked = any("mask" in name for name in condition.given(trial.open))
        if passes.spent or masked or condition.valid is not None:
            continue
        effect = _effect(passes, trial, condition)
        if effect is not None:
            (broken if effect <= NOTHING * matters else held).append(condition.name)
    if not broken:
        return None
    return Finding(
        "blind",
        str(passes.clause),
        f"{keyword} has no effect: hiding {trial.target} at position {trial.key} by it changes no "
        "output but that token's own, though the token matters to others",
        input=keyword,
        conditions=tuple(broken),
        held=tuple(held),
        cause=(
            "the mask is lost on that path: compare what it gives to the attention with what the "
            "others do"
            if held
            else "the argument is accepted and never reaches the attention, or the result of an "
            "out-of-place masked_fill is thrown away"
        ),
    )


def _trial(passes: Passes, keyword: str, part: int) -> _Trial | None:
    feed = passes.examination.feed
    given = feed.inputs.get(keyword)
    target = passes.clause.input or _whose(keyword, feed) or next(iter(feed.varying))
    length = feed.inputs[target].length
    key = max(1, length // part)
    if given is None:
        means = _MADE[keyword][0]
        valid = np.ones((feed.batch, length), dtype=bool)
        shown = told(valid, means)
        valid[:, key] = False
        hidden = told(valid, means)
    else:
        shown = given.values
        flipped = _flipped(shown)
        axis = next((a for a in range(shown.ndim - 1, 0, -1) if shown.shape[a] == length), None)
        if flipped is None or axis is None:
            passes.note(f"{keyword} {list(shown.shape)} has no axis of {length} keys; not tested")
            return None
        at = np.arange(length).reshape([-1 if a == axis else 1 for a in range(shown.ndim)]) == key
        hidden = np.where(at, flipped, shown)
    return _Trial(
        keyword,
        target,
        key,
        feed.having(Input(keyword, shown, "fixed")),
        feed.having(Input(keyword, hidden, "fixed")),
    )


def _flipped(values: NDArray[Any]) -> NDArray[Any] | None:
    """Return a mask that says the opposite everywhere; None for what is no mask."""
    if values.dtype == np.bool_:
        return ~values
    if values.dtype.kind in "iu":
        return (1 - values).astype(values.dtype) if np.isin(values, (0, 1)).all() else None
    if values.dtype.kind != "f":
        return None
    if np.isin(values, (0, 1)).all() and (values == 1).any():
        return 1 - values
    lowest = np.float64(values.min())
    return np.where(values == 0, lowest if lowest < -1 else -1e9, 0.0).astype(values.dtype)


def _matters(passes: Passes, trial: _Trial, condition: Condition) -> float:
    """Return how far the token moves the others."""
    feed = trial.open
    where = np.zeros((feed.batch, feed.inputs[trial.target].length), dtype=bool)
    where[:, trial.key] = True
    changed = feed.having(feed.inputs[trial.target].changed(where, passes.examination.seed + 1))
    return _moves(passes, trial, feed, changed, condition) or 0.0


def _effect(passes: Passes, trial: _Trial, condition: Condition) -> float | None:
    return _moves(passes, trial, trial.open, trial.hidden, condition)


def _moves(
    passes: Passes, trial: _Trial, one: Feed, other: Feed, condition: Condition
) -> float | None:
    """Return how far the outputs of two feeds are apart, those of the token itself left out."""
    before, after = passes.run(one, condition), passes.run(other, condition)
    if before is None or after is None:
        return None
    length = one.inputs[trial.target].length
    outputs = judged_outputs(before, one.batch, passes.clause)
    return max(_apart(array, after, name, length, trial.key) for name, array in outputs.items())


def _apart(before: NDArray[Any], after: Outputs, name: str, length: int, key: int) -> float:
    other = after.get(name)
    if other is None or other.shape != before.shape:
        return 0.0
    if before.ndim < 2:
        before, other = before[:, None], other[:, None]
    differ = moved(before, other)
    if before.shape[1] == length:
        differ[:, key] = False
    return size_of_change(before, other, differ)
