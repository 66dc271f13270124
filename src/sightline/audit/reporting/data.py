"""An audit's report as plain data, for files and other programs.

Keys are kept from version to version; masks are given as their text, arrays as lists of 0 and 1.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from sightline.audit.findings import Finding, Report

__all__ = ["as_json"]


def as_json(report: Report) -> dict[str, Any]:
    """Return a report as dicts, lists, strings and numbers, which ``json.dumps`` takes.

    >>> from sightline.audit.findings import Report
    >>> as_json(Report("GPT", ("causal()",), passes=12))["ok"]
    True
    """
    return {
        "subject": report.subject,
        "ok": report.ok,
        "contracts": list(report.contracts),
        "findings": [_finding(each) for each in report.findings],
        "notes": list(report.notes),
        "conditions": list(report.conditions),
        "sizes": {name: list(shape) for name, shape in report.sizes.items()},
        "coverage": report.coverage,
        "passes": report.passes,
        "dtype": report.dtype,
        "seconds": round(report.seconds, 3),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    matrix = finding.matrix
    return {
        "kind": finding.kind,
        "contract": finding.contract,
        "message": finding.message,
        "input": finding.input,
        "output": finding.output,
        "conditions": list(finding.conditions),
        "held": list(finding.held),
        "pairs": [pair._asdict() for pair in finding.pairs],
        # JSON has no infinity: null is a change to what is no number.
        "size": finding.size if math.isfinite(finding.size) else None,
        "place": None if finding.place is None else asdict(finding.place),
        "declared": None if finding.declared is None else repr(finding.declared),
        "measured": None if finding.measured is None else repr(finding.measured),
        "matrix": None
        if matrix is None
        else {
            "allowed": matrix.allowed.astype(int).tolist(),
            "depends": matrix.depends.astype(int).tolist(),
        },
        "cause": finding.cause,
        "repro": finding.repro,
    }
