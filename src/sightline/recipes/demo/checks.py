"""What must hold for the demo to have shown anything: each claim with its figure and its limit.

Where the promise is "not a bit", the limit is 0. Where two runs of different sizes are compared,
sums are taken in another order, and the limit is generous rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from sightline.recipes.demo.layer import AUTO, AUTO_DOUBLE, REFERENCE
from sightline.recipes.demo.records import (
    Agreement,
    Check,
    DecodingRecord,
    DemoReport,
    EmptyRowRecord,
    LearningRecord,
    Mistake,
    TwinRecord,
)

__all__ = ["checks_of"]

# Outputs are of size 1; a layer sums 64 products three times over.
_ROUNDING = {AUTO.name: 2e-5, AUTO_DOUBLE.name: 1e-13, REFERENCE.name: 0.0}

_SMALLEST = math.ulp(0.0)


def checks_of(report: DemoReport) -> tuple[Check, ...]:
    """Return all that must hold, in the order in which the demo tells it."""
    return (
        *_agreement_checks([*report.self_agreements, *report.pair_agreements]),
        *_filled_checks(report.filled_agreements),
        *_decoding_checks(report.decoding),
        *_empty_row_checks(report.empty_rows),
        *_twin_checks(report.twins),
        *_learning_checks(report.learning),
        *_mistake_checks(report.mistakes),
    )


def _agreement_checks(agreements: Iterable[Agreement]) -> list[Check]:
    """Padded is alone: to the last bit in the reference, to rounding elsewhere.

    For one way to compute and one attention there is one claim, on the worst sentence.
    """
    worst: dict[tuple[str, str], float] = {}
    for found in agreements:
        place = (found.attention, found.way)
        worst[place] = max(worst.get(place, 0.0), _difference(found))
    return [
        Check(f"{attention}: padded batch = sentence alone ({way})", figure, _ROUNDING[way])
        for (attention, way), figure in worst.items()
    ]


def _filled_checks(agreements: Iterable[Agreement]) -> list[Check]:
    """Nothing that stands in the padding changes a bit."""
    return [Check(f"{found.way}: no bit changes", _difference(found), 0.0) for found in agreements]


def _difference(found: Agreement) -> float:
    """Return the difference, which is more than 0 even where only the sign of a 0 differs."""
    return found.max_difference if found.identical else max(found.max_difference, _SMALLEST)


def _decoding_checks(found: DecodingRecord) -> list[Check]:
    """One pass is all its prefixes, in numbers and in the words guessed."""
    limit = _ROUNDING[AUTO.name]
    return [
        Check("one masked pass = one pass a prefix", found.max_difference_alone, limit),
        Check("one masked pass = one query a step", found.max_difference_decode, limit),
        Check("words guessed differently", float(found.different_guesses), 0.0),
    ]


def _empty_row_checks(found: EmptyRowRecord) -> list[Check]:
    """A query that may see nothing gives 0, and nothing anywhere becomes NaN."""
    return [
        Check("largest output of a query that may see nothing", found.largest_output, 0.0),
        Check("outputs that are NaN (padding on the left)", float(found.nan_outputs), 0.0),
        Check("gradients that are NaN (padding on the left)", float(found.nan_gradients), 0.0),
    ]


def _twin_checks(found: TwinRecord | None) -> list[Check]:
    """Without mask and positions, a word has one output wherever it stands."""
    if found is None:
        return []
    claim = f'without mask and positions, both "{found.word}" give the same output'
    return [Check(claim, found.plain, _ROUNDING[AUTO.name])]


def _learning_checks(found: LearningRecord) -> list[Check]:
    """Writing with a cache is reading the text in one pass; a batch changes no word."""
    limit = 0.0 if found.exact else _ROUNDING[AUTO.name]
    below = max(0.0, found.lowest_loss - found.losses[-1])
    return [
        Check("written with the cache = one full pass", found.max_difference_cache, limit),
        Check("texts written differently in a batch", float(found.different_in_batch), 0.0),
        Check("loss below what the past alone can tell", below, _ROUNDING[AUTO.name]),
    ]


def _mistake_checks(mistakes: Iterable[Mistake]) -> list[Check]:
    """The right way does no harm by the measure of each mistake."""
    return [
        Check(f"{found.name}: {found.measure}, done right", found.right_harm, found.tolerance)
        for found in mistakes
    ]
