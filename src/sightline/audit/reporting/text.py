"""An audit's report in words: a line for a model that obeys, all that helps for one that does not.

What is said of a report stands here, for the terminal and for the page (page.py) alike; the same
as data stands in data.py.
"""

from __future__ import annotations

import math
import os
import textwrap
from pathlib import Path

from sightline.audit.findings import Finding, Pair, Place, Report
from sightline.audit.reporting.picture import finding_picture
from sightline.views.labels import ranges_text, visible
from sightline.views.text.glyphs import paint
from sightline.views.text.terminal import render_text

__all__ = ["as_text", "facts_of", "headline", "tried", "verdict"]

_LINE = 98
_INDENT = " " * 3
_WIDEST_LABEL = len("behaves like")
# What is listed in a line before "and so many more", and in a sentence at all.
_MOST_LISTED, _MOST_NAMED = 6, 3


def as_text(report: Report, *, color: bool = False, encoding: str = "utf-8") -> str:
    """Return a report as text: a line if nothing was found, else each finding with its picture.

    Args:
        report: what ``sl.audit`` returned.
        color: with ANSI colors.
        encoding: of the output, which decides the signs of the picture.

    >>> from sightline.audit.findings import Report
    >>> print(as_text(Report("GPT", ("causal()",), sizes={"ids": (3, 17)}, passes=12)))
    GPT obeys causal(). Tried: ids [3, 17]; all forbidden pairs; 12 passes.
    """
    lines = [visible(f"{verdict(report)} Tried: {tried(report)}.")]
    if report.findings:
        lines = [paint(line, "leak", color) for line in _wrapped(verdict(report), "", "")]
        for number, finding in enumerate(report.findings, start=1):
            lines += ["", *_finding(finding, number, color, encoding)]
        lines += ["", *_wrapped(f"Tried: {tried(report)}.", "", "")]
    for note in report.notes:
        lines += [paint(line, "note", color) for line in _wrapped(note, "note: ", " " * 6)]
    return "\n".join(lines)


def verdict(report: Report) -> str:
    """Return whether the model keeps its contract, as one sentence."""
    contracts = " and ".join(report.contracts) or "its contract"
    if not report.findings:
        return f"{report.subject} obeys {contracts}."
    number = len(report.findings)
    return f"{report.subject} breaks {contracts}: {number} finding{'s' * (number > 1)}."


def tried(report: Report) -> str:
    """Return what the model was run on, how, and how much of the contract that covers."""
    parts = [", ".join(f"{name} {list(shape)}" for name, shape in report.sizes.items())]
    several = len(report.conditions)
    ways = _listed(report.conditions) if several <= _MOST_NAMED else f"{several} conditions"
    parts += [ways, report.dtype, _coverage(report.coverage)]
    passes = f"{report.passes} pass{'es' * (report.passes != 1)}" if report.passes else ""
    if passes and report.seconds:
        passes += f" in {report.seconds:.1f} s"
    return "; ".join(part for part in (*parts, passes) if part)


def headline(finding: Finding) -> str:
    """Return what is broken, and how it shows.

    >>> from sightline.audit.findings import Finding
    >>> headline(Finding("leak", "causal()", "logits at 3 depends on input_ids at 4"))
    'causal() is broken: logits at 3 depends on input_ids at 4'
    """
    if finding.contract in finding.message:
        return finding.message
    return f"{finding.contract} is broken: {finding.message}"


def facts_of(finding: Finding) -> list[tuple[str, str]]:
    """Return what is known of a finding besides picture and repro: labels, and words for each."""
    declared = "" if finding.declared is None else repr(finding.declared)
    measured = "" if finding.measured is None else repr(finding.measured)
    if measured and finding.matrix is not None:
        queries, keys = finding.matrix.depends.shape
        length = f"{queries}" if queries == keys else f"{queries} x {keys}"
        measured += f" (measured at {length} positions)"
    facts = [
        ("declared", declared),
        ("behaves like", measured),
        ("where", "" if finding.place is None else _where(finding.place)),
        ("", "" if finding.place is None else code_of(finding.place)),
        ("fails", _listed(finding.conditions)),
        ("holds", _listed(finding.held)),
        ("pairs", _pairs(finding.pairs) + _more_pairs(finding)),
        ("size", _size(finding.size)),
        ("likely cause", finding.cause),
    ]
    return [(label, words) for label, words in facts if words]


def code_of(place: Place) -> str:
    """Return the line of code, behind its file and number; the file as seen from here."""
    if not place.file:
        return place.text.strip()
    return f"{_near(place.file)}:{place.line} {place.text.strip()}".rstrip()


def _where(place: Place) -> str:
    name = f"{place.module or 'the model itself'} ({place.kind})"
    return f"{name}, in {place.operation}" if place.operation else name


def _near(file: str) -> str:
    """Return a file's path from the working directory, if it lies below that."""
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return os.fspath(file)


def _finding(finding: Finding, number: int, color: bool, encoding: str) -> list[str]:
    start = f"{number}. "
    lines = [paint(line, "title", color) for line in _wrapped(headline(finding), start, _INDENT)]
    for label, words in facts_of(finding):
        head = f"{_INDENT}{label:{_WIDEST_LABEL}}  "
        lines += _wrapped(words, head, " " * len(head))
    picture = finding_picture(finding)
    if picture is not None:
        drawn = render_text(picture, color=color, encoding=encoding)
        lines += ["", *(_INDENT + line for line in drawn.splitlines())]
    if finding.repro:
        lines += ["", f"{_INDENT}repro:"]
        lines += [_INDENT + "    " + visible(line) for line in finding.repro.strip().splitlines()]
    return [line.rstrip() for line in lines]


def _wrapped(text: str, start: str, indent: str) -> list[str]:
    """Return a text in lines, without anything that would move a terminal's cursor."""
    return textwrap.wrap(
        visible(text),
        _LINE,
        initial_indent=start,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [start.rstrip()]


def _listed(words: tuple[str, ...]) -> str:
    rest = len(words) - _MOST_LISTED
    # Names of conditions have commas of their own.
    return " / ".join(words[:_MOST_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _pairs(pairs: tuple[Pair, ...]) -> str:
    """Return the pairs, the keys of each query together: ``query 3 <- keys 4-6, 9``."""
    several = any(pair.batch for pair in pairs)
    keys: dict[tuple[int, int], set[int]] = {}
    for pair in pairs:
        # A negative key: it is about the query alone.
        found = keys.setdefault((pair.batch, pair.query), set())
        found.update([pair.key] if pair.key >= 0 else [])
    return "; ".join(
        f"{f'row {batch}: ' if several else ''}query {query}{_keys(sorted(found))}"
        for (batch, query), found in keys.items()
    )


def _more_pairs(finding: Finding) -> str:
    """Return how many pairs leak in all, where not all of them are listed."""
    if finding.matrix is None or not finding.pairs:
        return ""
    every = int(finding.matrix.leaks.sum())
    return f"; {every} pairs in all" if every > len(finding.pairs) else ""


def _keys(keys: list[int]) -> str:
    return f" <- key{'s' * (len(keys) > 1)} {ranges_text(keys)}" if keys else ""


def _size(size: float) -> str:
    if not size:
        return ""
    if not math.isfinite(size):
        return "the output becomes infinite, or not a number"
    return f"the output changes by up to {size:.2g} of its own size (root mean square)"


def _coverage(coverage: float) -> str:
    if coverage >= 1.0:
        return "all forbidden pairs"
    # Rounded down: what is not all never reads as all.
    return f"{math.floor(coverage * 1000) / 10:g}% of the forbidden pairs"
