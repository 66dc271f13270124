"""``sl.lint(paths)``: masks that are wrong in the text of a program, found without running it.

The front door: it reads files, asks the rules of lint_rules/, and leaves out what a comment
silences. How code is read is the matter of linting/; printing is the command line's.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches

from sightline.audit.lint_rules.table import NAMES, all_rules
from sightline.audit.linting.files import Piece, files_of, read_pieces, skipped
from sightline.audit.linting.records import LintFinding, LintReport, Severity, Skipped
from sightline.audit.linting.rule import Code, Hit, LintRule
from sightline.audit.linting.source import Source
from sightline.audit.linting.suppression import UNKNOWN, Suppression, suppressions
from sightline.errors import DataError

__all__ = ["LintFinding", "LintReport", "lint", "lint_text"]


def lint(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    rules: Iterable[str] | None = None,
    progress: Callable[[int], object] = lambda files: None,
) -> LintReport:
    r"""Look for mistakes with masks in Python files and notebooks; nothing is imported or run.

    Args:
        paths: a file, a folder, or several. Folders are looked through for ``.py`` and ``.ipynb``;
            hidden folders, ``build``, ``node_modules`` and the like are passed over.
        rules: the names of the rules to ask; all of them if None (``docs/lint.md`` lists them).
        progress: called with 1 whenever a file is done.

    Returns:
        The findings, sorted by place; what is only worth a note apart from them; the files that
        could not be read, with the reason.

    Raises:
        InvalidArgument: a path that does not exist, a file that is no Python, a rule of no name.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "attention.py")
    ...     _ = path.write_text("def f(scores, mask):\n    scores.masked_fill(mask, -1e9)\n")
    ...     (finding,) = lint(path).findings
    >>> finding.rule, finding.line, finding.column
    ('discarded-masked-fill', 2, 5)
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    asked = all_rules(rules)
    findings: list[LintFinding] = []
    left_out: list[Skipped] = []
    files = files_of(given)
    for path in files:
        try:
            findings += _lint_file(path, asked)
        except DataError as error:
            left_out.append(skipped(error))
        except RecursionError:
            left_out.append(Skipped(path, 0, "its expressions are nested too deeply"))
        progress(1)
    return LintReport(
        findings=tuple(sorted(each for each in findings if each.severity != "note")),
        notes=tuple(sorted(each for each in findings if each.severity == "note")),
        files=len(files) - len(left_out),
        skipped=tuple(sorted(left_out)),
    )


def lint_text(
    text: str, *, rules: Iterable[str] | None = None, path: str = "<text>"
) -> tuple[LintFinding, ...]:
    """Return the findings in a piece of Python, notes included, sorted by place.

    Raises:
        DataError: the text is no Python.
        InvalidArgument: a rule of no name.
    """
    return tuple(sorted(_lint_source(Source(Piece(path, text)), all_rules(rules))))


def _lint_file(path: str, rules: Sequence[LintRule]) -> list[LintFinding]:
    findings: list[LintFinding] = []
    imported: dict[str, str] = {}
    for piece in read_pieces(path):
        source = Source(piece, imported)
        findings += _lint_source(source, rules)
        # Later cells of a notebook use what earlier ones import.
        imported = source.imports if piece.cell else {}
    return findings


def _lint_source(source: Source, rules: Sequence[LintRule]) -> list[LintFinding]:
    piece = source.piece
    silent = suppressions(piece.text)
    code = Code(source)
    found = {
        _finding(source, rule.name, hit.severity or rule.severity, hit)
        for rule in rules
        if rule.concerns(piece.text)
        for hit in rule.check(code)
        if not any(each.silences(rule.name) for each in _about(hit, source, silent))
    }
    return [*found, *_unknown(source, silent)]


def _about(hit: Hit, source: Source, silent: Iterable[Suppression]) -> Iterator[Suppression]:
    """Yield the comments on the finding's line, or on the first line of its statement."""
    statement = source.statement_of(hit.node)
    lines = {hit.node.lineno, statement.lineno if statement is not None else 0}
    yield from (each for each in silent if each.line in lines)


def _finding(source: Source, rule: str, severity: Severity, hit: Hit) -> LintFinding:
    node = hit.node
    line = source.lines[min(node.lineno, len(source.lines)) - 1]
    end_line = node.end_lineno or node.lineno
    last = source.lines[min(end_line, len(source.lines)) - 1]
    return LintFinding(
        path=source.piece.path,
        cell=source.piece.cell,
        line=node.lineno,
        column=_characters(line, node.col_offset) + 1,
        end_line=end_line,
        end_column=_characters(last, node.end_col_offset or node.col_offset + 1) + 1,
        rule=rule,
        severity=severity,
        message=hit.message,
        fix=hit.fix,
        source_line=line,
    )


def _characters(line: str, offset: int) -> int:
    """Return how many characters the first ``offset`` bytes of a line's UTF-8 are."""
    return len(line.encode()[:offset].decode(errors="replace"))


def _unknown(source: Source, silent: Iterable[Suppression]) -> Iterator[LintFinding]:
    """Yield a finding for each rule that a comment names and that does not exist."""
    for each in silent:
        for name in sorted(each.rules - {*NAMES, UNKNOWN}):
            near = get_close_matches(name, NAMES, n=1, cutoff=0.5)
            hint = f"write ignore[{near[0]}]" if near else "see `sightline lint --list-rules`"
            at = ast.Pass(
                lineno=each.line,
                col_offset=len(source.lines[each.line - 1][: each.column].encode()),
                end_lineno=each.line,
                end_col_offset=len(source.lines[each.line - 1][: each.column].encode())
                + len(each.text.encode()),
            )
            message = f"this silences the rule {name!r}, which does not exist"
            yield _finding(source, UNKNOWN, "warning", Hit(at, message, hint))
