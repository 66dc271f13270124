"""Sightline in pytest: the fixture ``sightline_audit``; ``--backend`` for the conformance suite.

Loaded with every run of pytest where Sightline is installed, so it loads nothing before it is
used. ``--backend`` is added only where the suite is what is run, so that other projects' options
keep their names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--sightline-html``, the folder for pages of audits that fail."""
    parser.getgroup("sightline").addoption(
        "--sightline-html",
        default=None,
        metavar="DIR",
        help="write the report of each audit that fails as a page into this folder",
    )


def pytest_load_initial_conftests(parser: pytest.Parser, args: list[str]) -> None:
    """Add ``--backend`` if ``sightline.testing`` is among what pytest is asked to run."""
    if any(arg.replace("/", ".").find("sightline.testing") >= 0 for arg in args):
        parser.addoption(
            "--backend",
            action="append",
            default=None,
            help="a backend of Sightline's, or module:attribute of a sightline.testing Backend; "
            "may be given several times",
        )


@pytest.fixture
def sightline_audit(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Audit a model: ``sightline_audit(model, sightline.causal())`` fails if it does not obey.

    Takes what ``sightline.audit`` takes and returns its report. The failure is the report: the
    module, the pairs, a picture, the likely cause, a script that shows it.
    """

    def audit(model: Any, contract: Any, inputs: Any = None, **options: Any) -> Any:
        from sightline.audit.probe import audit as audit_model

        report = audit_model(model, contract, inputs, **options)
        if report.ok:
            request.node.add_report_section("call", "sightline audit", str(report))
            return report
        page = _write_page(report, request)
        pytest.fail(f"{report}\n{page}".rstrip(), pytrace=False)

    return audit


def _write_page(report: Any, request: pytest.FixtureRequest) -> str:
    """Write the page of a report if a folder was named for it, and return the line that says so."""
    folder = request.config.getoption("--sightline-html")
    if folder is None:
        return ""
    from sightline.audit.reporting.page import as_html
    from sightline.views.files import write_atomically

    name = re.sub(r"[^\w.-]+", "-", request.node.nodeid).strip("-")[-120:]
    path = Path(folder, f"{name}.html")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, as_html(report))
    return f"page: {path}"
