"""From a library's object to an expression: read as the library would, then recognized.

The reading is the matter of each source, the expression that of the core.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sightline.recognize.result import Recognized
from sightline.recognize.sources.reading import NO_KEY, Read
from sightline.recognize.sources.table import module_of, read

Core = Callable[..., Recognized]


def recognize_library(
    given: object,
    source: str,
    core: Core,
    *,
    q_offset: int | None = None,
    options: dict[str, object] | None = None,
) -> Recognized | tuple[Recognized, ...]:
    """Return what a library's object says, as an expression.

    Args:
        given: the object.
        source: the name of its form, of ``table.NAMES``.
        core: ``recognize`` of bare arrays.
        q_offset: the absolute position of the first query, if the caller says it.
        options: the options of the source.

    Returns:
        One result, or one for each name in the source's ``gives``.
    """
    first, *rest = each_recognized(given, source, core, q_offset=q_offset, options=options)
    return (first[1], *(found for _, found in rest)) if rest else first[1]


def each_recognized(
    given: object,
    source: str,
    core: Core,
    *,
    q_offset: int | None = None,
    options: dict[str, object] | None = None,
) -> tuple[tuple[Read, Recognized], ...]:
    """Return, for each mask of the object, its bools and what they were recognized as."""
    return tuple(
        (one, _recognized(one, source, core, q_offset))
        for one in read(given, source, _with_offset(source, q_offset, options or {}))
    )


def _with_offset(
    source: str, q_offset: int | None, options: dict[str, object]
) -> dict[str, object]:
    """Return the options, with the offset for the sources that read differently for it."""
    if q_offset is not None and "q_offset" in module_of(source).SOURCE.options:
        return {"q_offset": q_offset, **options}
    return options


def _recognized(one: Read, source: str, core: Core, q_offset: int | None) -> Recognized:
    at = one.q_offset if q_offset is None else q_offset
    found = core(one.allowed, means="attend", q_offset=at)
    # What the library makes of an empty row is known here; the core only knows that it is one.
    told = any(NO_KEY in warning for warning in one.warnings)
    general = [words for words in found.warnings if not (told and "see nothing" in words)]
    return replace(
        found,
        convention=one.convention,
        evidence=(f"read as {source}", *one.evidence, *found.evidence[1:]),
        warnings=(*one.warnings, *general),
    )
