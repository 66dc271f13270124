"""The words and shapes in which `sightline lint` tells its findings and its rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from sightline.audit.linting.records import LintFinding, LintReport
from sightline.audit.linting.rule import LintRule
from sightline.views.text.glyphs import paint

__all__ = ["as_json", "render_list", "render_rule", "report_lines"]

_STYLES = {"error": "empty", "warning": "empty", "note": "note"}
_MOST_SHOWN = 100  # characters of a source line


def report_lines(report: LintReport, *, notes: bool, color: bool) -> Iterator[str]:
    """Yield a report's lines: findings, what was skipped, and a count."""
    shown = sorted((*report.findings, *report.notes)) if notes else report.findings
    for finding in shown:
        yield from _finding_lines(finding, color)
    for skipped in report.skipped:
        yield paint(str(skipped), "note", color)
    yield _count(report, notes=notes)


def _finding_lines(finding: LintFinding, color: bool) -> Iterator[str]:
    yield (
        f"{finding.place}: {paint(finding.rule, _STYLES[finding.severity], color)} "
        f"({finding.severity}): {finding.message}"
    )
    yield from _excerpt(finding)
    yield f"    help: {finding.fix}"


def _excerpt(finding: LintFinding) -> Iterator[str]:
    """Yield the source line, and carets under what is meant; long lines are cut."""
    line = finding.source_line.rstrip().replace("\t", " ")
    begin = len(line) - len(line.lstrip())
    start = finding.column - 1
    if start - begin > _MOST_SHOWN // 2:
        begin = start - _MOST_SHOWN // 4
    stop = finding.end_column - 1 if finding.end_line == finding.line else len(line)
    cut = line[begin : begin + _MOST_SHOWN]
    carets = max(1, min(stop - start, len(cut) - (start - begin)))
    yield f"    {cut}"
    yield "    " + " " * (start - begin) + "^" * carets


def _count(report: LintReport, *, notes: bool) -> str:
    found = _of(len(report.findings), "finding")
    parts = [f"{found} in {_of(report.files, 'file')}"]
    if report.notes:
        parts.append(_of(len(report.notes), "note") + ("" if notes else " (--notes shows them)"))
    if report.skipped:
        parts.append(f"{_of(len(report.skipped), 'file')} skipped")
    return "; ".join(parts)


def _of(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'s' * (count != 1)}"


def as_json(report: LintReport) -> dict[str, Any]:
    """Return a report as plain data."""
    return {
        "findings": [asdict(each) for each in report.findings],
        "notes": [asdict(each) for each in report.notes],
        "files": report.files,
        "skipped": [asdict(each) for each in report.skipped],
    }


def render_list(rules: Sequence[LintRule], *, color: bool) -> str:
    """Return the rules, a line each."""
    width = max(len(rule.name) for rule in rules)
    return "\n".join(
        f"{paint(rule.name, 'title', color)}{' ' * (width - len(rule.name))}  "
        f"{rule.severity:7}  {rule.meaning.replace('`', '')}"
        for rule in rules
    )


def render_rule(rule: LintRule, *, color: bool) -> str:
    """Return what a rule finds, why, and its examples."""

    def indented(code: str) -> str:
        return "\n".join(f"    {line}".rstrip() for line in code.splitlines())

    return "\n".join(
        [
            f"{paint(rule.name, 'title', color)} ({rule.severity})",
            rule.meaning.replace("`", ""),
            "",
            rule.why.replace("`", ""),
            "",
            "wrong:",
            indented(rule.wrong),
            "",
            "right:",
            indented(rule.right),
        ]
    )
