"""What an audit returns: findings, each with its place, pairs and cause, and the report of all.

Records only; probe.py and its helpers fill them, reporting/text.py and the command line show them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sightline.errors import AuditFailed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sightline.masks.mask import Mask

# leak: an output depends on what its contract forbids. parity: two ways to ask for the same thing
# differ. blind: what should matter does not. nan: an output is not a number.
Kind = Literal["leak", "parity", "blind", "nan"]


class Pair(NamedTuple):
    """One cell in which an output depends on an input that it must not see."""

    batch: int
    query: int
    key: int


@dataclass(frozen=True)
class Place:
    """Where in a model a finding starts.

    Attributes:
        module: the dotted name of the first module, in order of execution, whose output is wrong
            though its inputs are right; empty is the model itself.
        kind: its class.
        operation: the first operation inside it, such as ``torch.softmax``; empty if unknown.
        file: the file of the line that called the operation; empty if unknown.
        line: its number, from 1; 0 if unknown.
        text: the line itself.
    """

    module: str
    kind: str
    operation: str = ""
    file: str = ""
    line: int = 0
    text: str = ""

    def __str__(self) -> str:
        """Return it as one line: module, class, and the line of code if known."""
        name = f"{self.module or 'the model itself'} ({self.kind})"
        if not self.operation:
            return name
        at = f" at {self.file}:{self.line}" if self.file else ""
        return f"{name}, in {self.operation}{at}"


@dataclass(frozen=True, eq=False)
class Matrix:
    """Who depends on whom, measured at a small length, beside what the contract allows.

    Attributes:
        allowed: bool ``[queries, keys]``, what the contract allows.
        depends: bool ``[queries, keys]``, where a change of the key changed the query's output.
    """

    allowed: NDArray[np.bool_]
    depends: NDArray[np.bool_]

    @property
    def leaks(self) -> NDArray[np.bool_]:
        """Bool ``[queries, keys]``: dependent though forbidden."""
        return self.depends & ~self.allowed


@dataclass(frozen=True, eq=False)
class Finding:
    """One way in which a model breaks its contract.

    Attributes:
        kind: leak, parity, blind or nan.
        contract: the contract that is broken, as text.
        message: what is wrong, in a sentence.
        input: the name of the input that must not matter; empty if it is not about one.
        output: the name of the output that it reaches.
        conditions: the conditions under which it was seen.
        held: the conditions under which the same check found nothing.
        pairs: up to eight cells that leak, the earliest query first.
        size: the largest forbidden change, as a part of the output's own size (its root mean
            square).
        place: where it starts; None if that is not known (plain functions, parity).
        declared: the mask of the contract; None for other contracts.
        measured: the tightest mask found for what the model really does, at the length of
            ``matrix``; None if it was not measured.
        matrix: who depends on whom there.
        cause: what the likely cause is; empty if nothing fits.
        repro: a script that shows it.
    """

    kind: Kind
    contract: str
    message: str
    input: str = ""
    output: str = ""
    conditions: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    pairs: tuple[Pair, ...] = ()
    size: float = 0.0
    place: Place | None = None
    declared: Mask | None = None
    measured: Mask | None = None
    matrix: Matrix | None = None
    cause: str = ""
    repro: str = ""


@dataclass(frozen=True, eq=False)
class Report:
    """All that an audit found.

    Attributes:
        subject: what was audited, in words.
        contracts: the contracts, as text.
        findings: what breaks them; empty for a model that obeys.
        notes: what a reader should know but need not act on: rounding that differs, conditions
            that could not be run, what was not covered.
        conditions: the conditions under which the model was run.
        sizes: what the inputs were: the name of each, and its shape.
        coverage: the part of the forbidden pairs that was tested, 0 to 1, under the first
            condition.
        passes: how often the model was run, localisation included.
        dtype: the numbers it was run in.
        seconds: how long it took.
    """

    subject: str
    contracts: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    coverage: float = 1.0
    passes: int = 0
    dtype: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        """Return the report in words; see reporting/text.py."""
        from sightline.audit.reporting.text import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        """Return the report for a notebook; see reporting/page.py."""
        from sightline.audit.reporting.page import in_notebook

        return in_notebook(self)

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain data, the same as `sightline audit --json` prints."""
        from sightline.audit.reporting.data import as_json

        return as_json(self)

    def as_html(self) -> str:
        """Return the report as a page of its own, pictures included."""
        from sightline.audit.reporting.page import as_html

        return as_html(self)

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def check(self) -> Report:
        """Return the report itself if nothing was found.

        Raises:
            AuditFailed: something was found; its text is the report's.
        """
        if self.findings:
            raise AuditFailed(str(self), self)
        return self
