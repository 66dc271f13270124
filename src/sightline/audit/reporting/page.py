"""An audit's report as a page: one HTML file with pictures and nothing from outside.

The words come from reporting/text.py, the look from sightline.views.
"""

from __future__ import annotations

from html import escape

from sightline.audit.findings import Finding, Report
from sightline.audit.reporting.picture import finding_picture
from sightline.audit.reporting.text import facts_of, headline, tried, verdict
from sightline.views.page import Page

__all__ = ["as_html", "in_notebook"]

_LEGEND = (
    "Blue: allowed and used; pale: allowed, not used; orange: forbidden, yet used. A query depends "
    "on a key if a change of the key changed the output there."
)
# Facts that are code, by their labels; the line of the model has none.
_CODE = ("declared", "behaves like", "")
# Of the frame in a notebook, in pixels.
_FRAME_HEIGHT = 640


def as_html(report: Report) -> str:
    """Return a report as a page that needs nothing around it.

    >>> from sightline.audit.findings import Report
    >>> "GPT obeys causal()." in as_html(Report("GPT", ("causal()",)))
    True
    """
    page = Page(f"Audit of {report.subject}")
    page.note(verdict(report), warning=not report.ok)
    for number, finding in enumerate(report.findings, start=1):
        page.heading(f"{number}. {headline(finding)}")
        _add(page, finding)
    page.heading("What was tried")
    rows = [("contract", text) for text in report.contracts]
    rows += [("input", f"{name} {list(shape)}") for name, shape in report.sizes.items()]
    rows += [("condition", text) for text in report.conditions]
    page.table(("", ""), rows).paragraph(f"In all: {tried(report)}.")
    if report.notes:
        page.heading("Notes").items(report.notes)
    return page.html()


def in_notebook(report: Report) -> str:
    """Return a report as a part of another page: a line, or a frame with a page of its own."""
    if report.ok:
        return f"<p>{escape(str(report))}</p>"
    # A frame, so that neither page's style reaches the other.
    return (
        f'<iframe srcdoc="{escape(as_html(report))}" title="{escape(verdict(report))}" '
        f'style="width:100%;height:{_FRAME_HEIGHT}px;border:0"></iframe>'
    )


def _add(page: Page, finding: Finding) -> None:
    page.table(("", ""), [_row(label, words) for label, words in facts_of(finding)])
    picture = finding_picture(finding)
    if picture is not None:
        page.pictures([(picture, f"{picture.title}. {_LEGEND}")], cell=18)
    if finding.repro:
        page.heading("A script that shows it", level=3).code(finding.repro.strip())


def _row(label: str, words: str) -> tuple[str, str]:
    """Return a label that stays on one line, and its words, as code where they are."""
    return label.replace(" ", "\u00a0"), f"`{words}`" if label in _CODE else words
