"""The picture of a finding: what the contract allows, what is used, and where they part.

Small on purpose: of a long measurement, the part around the first pair that leaks.
"""

from __future__ import annotations

import numpy as np

from sightline.audit.findings import Finding, Matrix
from sightline.views.picture import MaskPicture

__all__ = ["finding_picture"]

# Rows and columns that are drawn.
_MOST = 16


def finding_picture(finding: Finding, most: int = _MOST) -> MaskPicture | None:
    """Return the picture of who depends on whom; None if it was not measured.

    Args:
        finding: one of a report's.
        most: how many queries and keys are drawn; of more, those around the first leak.

    >>> import numpy as np
    >>> from sightline.audit.findings import Finding
    >>> matrix = Matrix(np.tri(3, dtype=bool), np.ones((3, 3), dtype=bool))
    >>> picture = finding_picture(Finding("leak", "causal()", "", matrix=matrix))
    >>> int(picture.leaks.sum()), picture.title
    (3, 'who depends on whom: queries down, keys across')
    """
    matrix = finding.matrix
    if matrix is None:
        return None
    rows, columns = _parts(matrix, most)
    part = np.ix_(rows, columns)
    names = f"queries{_of(finding.output)} down, keys{_of(finding.input)} across"
    if part[0].size < matrix.allowed.shape[0] or part[1].size < matrix.allowed.shape[1]:
        names += f"; a part of {' x '.join(map(str, matrix.allowed.shape))}"
    return MaskPicture(
        matrix.allowed[part],
        row_labels=tuple(map(str, rows)),
        column_labels=tuple(map(str, columns)),
        title=f"who depends on whom: {names}",
        used=matrix.depends[part],
        # The contract's own empty rows are no news here.
        empty_rows=np.zeros(len(rows), dtype=bool),
    )


def _of(name: str) -> str:
    return f" of {name}" if name else ""


def _parts(matrix: Matrix, most: int) -> tuple[range, range]:
    """Return the queries and keys to draw: all of them, or those around the first leak."""
    leaks = np.argwhere(matrix.leaks)
    first = leaks[0] if len(leaks) else (0, 0)
    found = []
    for size, at in zip(matrix.allowed.shape, first, strict=True):
        start = max(0, min(int(at) - most // 2, size - most))
        found.append(range(start, min(start + most, size)))
    return found[0], found[1]
