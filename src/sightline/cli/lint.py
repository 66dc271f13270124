"""`sightline lint`: mistakes with masks in Python files, found without running them.

Reads the arguments and prints; finding is the matter of sightline.audit.lint, the shape of SARIF
that of sightline.audit.linting.sarif, the words that of lint_report.py.
"""

from __future__ import annotations

import json as json_module
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from sightline import __version__
from sightline.audit.lint import lint as look
from sightline.audit.lint_rules.table import NAMES, all_rules, find_rule
from sightline.audit.linting.files import files_of
from sightline.audit.linting.records import LintReport
from sightline.audit.linting.sarif import sarif as as_sarif
from sightline.cli.lint_report import as_json, render_list, render_rule, report_lines
from sightline.cli.output import progress_bar, use_color, write_line
from sightline.views.files import write_atomically

__all__ = ["lint"]

FINDINGS, NOTHING_READ = 1, 2
# Fewer are done before a bar is drawn.
_FILES_WORTH_A_BAR = 100

_Paths = Annotated[
    list[str] | None, typer.Argument(metavar="PATH...", help="Files and folders to look through.")
]
_Rules = Annotated[
    list[str] | None, typer.Option("--rule", metavar="NAME", help="Ask only this rule; repeat.")
]
_Ignored = Annotated[
    list[str] | None, typer.Option("--ignore", metavar="NAME", help="Leave this rule out; repeat.")
]
_Notes = Annotated[bool, typer.Option("--notes", help="Show what is only worth a note, too.")]
_Json = Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")]
_Sarif = Annotated[bool, typer.Option("--sarif", help="Print the findings as SARIF 2.1.0.")]
_Output = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the JSON or SARIF into a file.")
]
_List = Annotated[bool, typer.Option("--list-rules", help="List the rules and stop.")]
_Explain = Annotated[
    str | None, typer.Option(metavar="RULE", help="Say what a rule finds, with examples, and stop.")
]


def lint(
    paths: _Paths = None,
    rule: _Rules = None,
    ignore: _Ignored = None,
    notes: _Notes = False,
    json: _Json = False,
    sarif: _Sarif = False,
    output: _Output = None,
    list_rules: _List = False,
    explain: _Explain = None,
) -> None:
    """Find mistakes with masks in Python files and notebooks; nothing is imported or run.

    A comment `# sightline: ignore[rule]` on the line silences a finding.
    Exit code 1 if there are findings, 2 if no file could be read; notes alone are fine.

    Examples:
      sightline lint src
      sightline lint model.py --rule triangle-sense --rule discarded-masked-fill
      sightline lint src --sarif --output lint.sarif
      sightline lint --explain triangle-sense
    """
    if list_rules:
        write_line(render_list(all_rules(), color=use_color()))
        return
    if explain is not None:
        write_line(render_rule(find_rule(explain), color=use_color()))
        return
    _check_forms(json, sarif, output)
    rules = _asked(rule, ignore)
    report = _looked(paths, rules)
    if sarif or json:
        shaped = as_sarif(report, all_rules(rules), __version__) if sarif else as_json(report)
        _write(json_module.dumps(shaped, indent=2), output)
    else:
        # A rule that is asked for by name is meant to speak.
        for line in report_lines(report, notes=notes or bool(rule), color=use_color()):
            write_line(line)
    if report.skipped and not report.files:
        raise typer.Exit(NOTHING_READ)
    if report.findings or (rule and report.notes):
        raise typer.Exit(FINDINGS)


def _check_forms(json: bool, sarif: bool, output: Path | None) -> None:
    if json and sarif:
        raise typer.BadParameter("give it or --json, not both.", param_hint="'--sarif'")
    if output is not None and not (json or sarif):
        raise typer.BadParameter(
            "name what to write: --sarif or --json beside it.", param_hint="'--output'"
        )


def _asked(chosen: Iterable[str] | None, left_out: Iterable[str] | None) -> list[str]:
    """Return the names of the rules to ask."""
    wanted = [find_rule(name).name for name in chosen or NAMES]
    without = {find_rule(name).name for name in left_out or ()}
    rest = [name for name in wanted if name not in without]
    if not rest:
        raise typer.BadParameter("this leaves no rule to ask.", param_hint="'--ignore'")
    return rest


def _looked(paths: list[str] | None, rules: list[str]) -> LintReport:
    if not paths:
        raise typer.BadParameter("give a file or a folder.", param_hint="'PATH'")
    files = files_of(paths)
    if not files:
        raise typer.BadParameter(
            f"there is no .py or .ipynb file below {', '.join(paths)}.", param_hint="'PATH'"
        )
    wanted = len(files) >= _FILES_WORTH_A_BAR
    with progress_bar("reading", len(files), wanted=wanted) as progress:
        return look(files, rules=rules, progress=progress)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        write_line(text)
    else:
        write_atomically(output, text + "\n")
