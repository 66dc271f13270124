"""What a lint returns: findings with their places, what could not be read, and the report of all.

Records only; lint.py fills them, the command line and sarif.py show them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# error: wrong however it is read. warning: wrong but for rare intentions. note: right today, and
# wrong with another dtype or another tokenizer.
Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, order=True)
class LintFinding:
    """One place in the code that a rule speaks about. Findings sort by place.

    Attributes:
        path: the file, as it was reached from the given path.
        line: the line where it begins, from 1. In a notebook: of the code cell.
        column: the column where it begins, from 1, in characters.
        end_line: the line where it ends.
        rule: the rule's name.
        severity: error, warning or note.
        message: what is wrong here.
        fix: what to write instead.
        source_line: the text of ``line``.
        end_column: the column after its last character, in ``end_line``.
        cell: which code cell of a notebook, from 1; 0 in other files.
    """

    path: str
    cell: int
    line: int
    column: int
    end_line: int
    end_column: int
    rule: str
    severity: Severity
    message: str
    fix: str
    source_line: str

    @property
    def place(self) -> str:
        """The place as ``path:line:column``; a notebook names the cell."""
        cell = f":cell {self.cell}" if self.cell else ""
        return f"{self.path}{cell}:{self.line}:{self.column}"

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.place}: {self.severity}: {self.message} [{self.rule}]"


@dataclass(frozen=True, order=True)
class Skipped:
    """A file that could not be looked at.

    Attributes:
        path: the file.
        reason: why.
        line: the line where reading stopped; 0 if there is none.
    """

    path: str
    line: int
    reason: str

    def __str__(self) -> str:
        """Return it as one line."""
        at = f":{self.line}" if self.line else ""
        return f"{self.path}{at}: skipped: {self.reason}"


@dataclass(frozen=True)
class LintReport:
    """All that a lint found.

    Attributes:
        findings: errors and warnings, sorted by place.
        notes: findings of severity note, sorted by place.
        files: how many files were read.
        skipped: files that could not be.
    """

    findings: tuple[LintFinding, ...]
    notes: tuple[LintFinding, ...]
    files: int
    skipped: tuple[Skipped, ...]

    @property
    def ok(self) -> bool:
        """Whether there is neither an error nor a warning."""
        return not self.findings

    def __str__(self) -> str:
        """Return the findings and what was skipped, a line each."""
        lines = [str(each) for each in (*self.findings, *self.skipped)]
        return "\n".join(lines) or f"no findings in {self.files} file{'s' * (self.files != 1)}"
