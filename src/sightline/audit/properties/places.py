"""Where a broken promise starts: which of the locators is asked, and whether it can be afforded.

Changes at equal shapes are localize.py's, a whole and its parts parting.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sightline.audit.findings import Place
from sightline.audit.probing.feed import Feed
from sightline.audit.probing.subject import Condition
from sightline.audit.properties.comparing import Passes

if TYPE_CHECKING:
    from sightline.audit.probing.examination import Examination


def place_apart(
    passes: Passes,
    condition: Condition,
    whole: Feed,
    pieces: Callable[[], Any],
    cuts: Sequence[tuple[int | None, int, int]],
    length: int,
) -> Place | None:
    """Return the first module that returns another for a part than for the whole; None if unknown.

    Args:
        passes: of the promise.
        condition: under which it was seen.
        whole: the inputs, whole.
        pieces: runs the parts, one pass each.
        cuts: what each of them holds: its row (None is all), first position, and the one after.
        length: the positions of the whole.
    """
    examination = passes.examination
    model = examination.subject.model
    if model is None or examination.counter.left < 2:
        return None
    from sightline.audit.locating.parting import Part, parted

    parts = [Part(whole.batch, length, row, start, stop) for row, start, stop in cuts]
    runner = examination.runner(condition)
    return parted(model, lambda: runner(whole), pieces, parts)


def place_of(
    examination: Examination,
    condition: Condition,
    base: Feed,
    changed: Feed,
    quiet: dict[int, Any],
) -> Place | None:
    """Return the module in which a change that must not matter starts to; None if not known.

    Args:
        examination: the audit under way.
        condition: under which it was seen.
        base: the inputs.
        changed: the same, with changes that must not matter.
        quiet: by length, bool ``[batch, length]``: where states must not change; at 0, bool
            ``[batch]``, those without positions.
    """
    model = examination.subject.model
    if model is None or examination.counter.left < 4:
        return None
    from sightline.audit.locating.localize import locate

    return locate(model, examination.runner(condition), base, changed, quiet)
