"""Why a model leaks: one sentence, from the operation that localize.py found and its arguments.

A table of rules, the surest first; where none fits nothing is said. What is looked at is not the
user's code but what the operation was called with, and what the model was measured to do.
"""

from __future__ import annotations

from collections.abc import Callable

from sightline.audit.findings import Place
from sightline.audit.locating import causes_elsewhere as elsewhere
from sightline.audit.locating import causes_of_attention as attention
from sightline.audit.locating.case import Case
from sightline.audit.locating.facts import Facts
from sightline.masks.mask import Mask

RULES: tuple[Callable[[Case], str], ...] = (
    attention.wrong_axis,
    attention.replaced_by_a_hint,
    attention.no_mask,
    attention.soft,
    attention.some_heads,
    attention.some_rows,
    attention.on_queries,
    attention.inverse,
    attention.missing_part,
    attention.shifted,
    attention.empty_rows,
    attention.beyond_a_size,
    attention.prefix,
    attention.sees_more,
    elsewhere.convolution,
    elsewhere.normalisation,
    elsewhere.reducing,
    elsewhere.cumulative,
    elsewhere.spectral,
    elsewhere.choosing,
    elsewhere.rolling,
    elsewhere.recurrent,
    elsewhere.product,
    elsewhere.layout,
    elsewhere.own_input,
    elsewhere.measured_prefix,
    elsewhere.measured_distance,
)


def likely_cause(
    place: Place | None, facts: Facts | None, declared: Mask | None, measured: Mask | None
) -> str:
    """Return the likely cause of a leak, and what to do, in a sentence; empty if nothing fits.

    Args:
        place: where it starts.
        facts: the operation there and its arguments.
        declared: the mask of the contract; None for other contracts.
        measured: the tightest mask found for what the model really does.

    >>> import sightline as sl
    >>> facts = Facts("conv1d", values={"padding": (2,), "dilation": (1,)},
    ...               shapes={"input": (3, 8, 13), "weight": (8, 8, 5)})
    >>> likely_cause(None, facts, sl.causal(), None)
    'the convolution reads 2 positions ahead: its kernel of 5 is padded by 2 on both sides; pad by \
4 on the left only (F.pad(x, (4, 0)))'
    """
    case = Case(place, facts, declared, measured)
    for rule in RULES:
        said = rule(case)
        if said:
            return said
    return ""
