"""A lint report as SARIF 2.1.0, the form in which code hosts and editors take findings.

Gives plain dictionaries; writing them is the caller's part.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sightline.audit.linting.records import LintFinding, LintReport, Skipped
from sightline.audit.linting.rule import LintRule
from sightline.audit.linting.suppression import UNKNOWN

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(report: LintReport, rules: Sequence[LintRule], version: str) -> dict[str, Any]:
    """Return a report as a SARIF log of one run.

    Args:
        report: what a lint returned; its notes go in as results of level note.
        rules: the rules that were asked; each is described in the log.
        version: Sightline's.
    """
    ids = [rule.name for rule in rules] + [UNKNOWN]
    driver = {
        "name": "sightline",
        "version": version,
        "rules": [_described(rule) for rule in rules] + [_UNKNOWN_RULE],
    }
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "results": [
                    _result(each, ids) for each in sorted((*report.findings, *report.notes))
                ],
                "invocations": [
                    {
                        "executionSuccessful": bool(report.files) or not report.skipped,
                        "toolExecutionNotifications": [_notified(each) for each in report.skipped],
                    }
                ],
            }
        ],
    }


def _described(rule: LintRule) -> dict[str, Any]:
    example = f"Wrong:\n\n```python\n{rule.wrong}```\n\nRight:\n\n```python\n{rule.right}```\n"
    return {
        "id": rule.name,
        "shortDescription": {"text": rule.meaning.replace("`", "")},
        "fullDescription": {"text": rule.why.replace("`", "")},
        "help": {"text": rule.why.replace("`", ""), "markdown": f"{rule.why}\n\n{example}"},
        "defaultConfiguration": {"level": rule.severity},
    }


_UNKNOWN_RULE = {
    "id": UNKNOWN,
    "shortDescription": {"text": "A comment silences a rule that does not exist."},
    "defaultConfiguration": {"level": "warning"},
}


def _result(finding: LintFinding, ids: list[str]) -> dict[str, Any]:
    cell = f" (code cell {finding.cell})" if finding.cell else ""
    return {
        "ruleId": finding.rule,
        "ruleIndex": ids.index(finding.rule),
        "level": finding.severity,
        "message": {"text": f"{finding.message}{cell}. Instead: {finding.fix}."},
        "locations": [{"physicalLocation": _physical(finding)}],
    }


def _physical(finding: LintFinding) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(finding.path)}}
    if not finding.cell:  # a notebook's lines are those of its cells, not of the file
        place["region"] = {
            "startLine": finding.line,
            "startColumn": finding.column,
            "endLine": finding.end_line,
            "endColumn": finding.end_column,
            "snippet": {"text": finding.source_line},
        }
    return place


def _notified(skipped: Skipped) -> dict[str, Any]:
    return {
        "level": "warning",
        "message": {"text": f"skipped: {skipped.reason}"},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(skipped.path)}}}],
    }


def _uri(path: str) -> str:
    """Return a path as a URI: slashes, and no other sign that means something."""
    return Path(path).as_uri() if Path(path).is_absolute() else quote(Path(path).as_posix())
