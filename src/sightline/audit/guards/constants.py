"""The numbers of masks that are added to the scores: NaN, signs, 0 and 1, too weak, overflowed.

Pure functions of what reading.py found; who sees whom is judged in checks.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from sightline.audit.guards.records import Call, Numbers, Part, Said
from sightline.audit.guards.sight import all_prefixes

# Above this a number is no bias: it drowns the scores.
_DROWNS = 999.0
# The distance of 1 from the next number, which is what rounds away in a sum of weights.
_EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
_SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149, "float64": 5e-324}


def check_constants(call: Call) -> Iterator[Said]:
    """Report float masks whose numbers do not do what masks are for."""
    for part in call.parts:
        numbers = part.table.numbers
        if numbers is None or part.learned:
            continue
        said = (
            _not_numbers(part, numbers)
            or _zero_one(part, numbers)
            or _as_bools(part, numbers)
            or _weak(call, part, numbers)
            or _overflowed(part, numbers)
        )
        if said is not None:
            yield said


def _not_numbers(part: Part, numbers: Numbers) -> Said | None:
    if numbers.nan:
        what = "holds NaN, as 0 * -inf and inf - inf give, and makes outputs NaN"
    elif numbers.plus_inf or numbers.greatest > _DROWNS:
        top = math.inf if numbers.plus_inf else numbers.greatest
        what = f"adds {top:g} to scores, so that those keys are all that is seen: the sign is wrong"
    else:
        return None
    return Said(
        "constants",
        "error",
        f"{part.name} {what}. Make it of bools: zeros.masked_fill(forbidden, -inf).",
    )


def _zero_one(part: Part, numbers: Numbers) -> Said | None:
    if not numbers.zero_one:
        return None
    does = "forbids where it is 1" if part.means == "nonzero" else "adds 0 or 1 to the scores"
    return Said(
        "zero-one",
        "error",
        f"{part.name} holds the floats 0 and 1 only: this call {does}, and hides nothing where it "
        "is 0. Pass bools in the sense of the callee, or 0 and -inf.",
    )


def _as_bools(part: Part, numbers: Numbers) -> Said | None:
    """Judge what torch's fused encoder layer does to a float mask: all but 0 becomes True."""
    if part.means != "nonzero" or not numbers.biased:
        return None
    return Said(
        "constants",
        "error",
        f"{part.name} holds numbers that are neither 0 nor forbid; the fast path of inference "
        "forbids all but 0, while in training they are added. Leave the fast path with "
        "torch.backends.mha.set_fastpath_enabled(False).",
    )


def _weak(call: Call, part: Part, numbers: Numbers) -> Said | None:
    if numbers.weak is None or part.means == "nonzero":
        return None
    left = math.exp(numbers.weak)
    if left < _SMALLEST.get(call.dtype, 0.0) / 2:
        return None
    seen = left > _EPSILON.get(call.dtype, 0.0)
    if seen and not _mask_like(part):
        return None
    return Said(
        "constants",
        "warning" if seen else "note",
        f"{part.name} hides with {numbers.weak:g}, which is finite: a hidden key keeps a weight of "
        f"{left:.1g} next to one of equal score. Use -inf, or the least number of the dtype.",
    )


def _mask_like(part: Part) -> bool:
    """Return whether the two values of a float mask lie as those of causal or padding masks do."""
    shown = part.table.unhidden
    if shown is None:
        return False
    if shown.shape[2] > 1 and (shown == np.tri(*shown.shape[2:], dtype=np.bool_)).all():
        return True
    by_key = bool((shown == shown[:, :, :1]).all())
    ends = all_prefixes(shown[:, :, 0]) or all_prefixes(shown[:, :, 0, ::-1])
    return by_key and ends and bool(shown.any(axis=-1).all())


def _overflowed(part: Part, numbers: Numbers) -> Said | None:
    if not (numbers.minus_inf and numbers.least < -_DROWNS) or part.means == "nonzero":
        return None
    return Said(
        "constants",
        "note",
        f"{part.name} forbids with {numbers.least:g} and with -inf: the sum of two masks "
        "overflowed, or two kinds were mixed. A query with no key left then sees those of the "
        "first kind. Combine bools, and convert once.",
    )
