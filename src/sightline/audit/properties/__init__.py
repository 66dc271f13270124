"""The promises of a contract that are not a mask, one file each; this is their table.

What a promise means stands in contracts.py; here is what finds out whether it is kept. How passes
are compared, and what is rounding, stands in comparing.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

from sightline.audit.contracts import Clause
from sightline.audit.findings import Finding

if TYPE_CHECKING:
    from sightline.audit.probing.examination import Examination

# The promise's class in contracts.py, and the file here whose ``examine`` tests it.
_FILES = {
    "BackendParity": "backend_parity",
    "BatchInvariant": "batch_invariant",
    "CacheParity": "cache_parity",
    "Isolated": "isolated",
    "MaskSensitive": "mask_sensitive",
    "PadInvariant": "pad_invariant",
}


def examine_property(examination: Examination, clause: Clause) -> Iterable[Finding]:
    """Return what breaks a promise that is not a mask.

    Args:
        examination: the audit under way; passes are counted and notes are left there.
        clause: the promise, and the input and output that it is about.

    Raises:
        InvalidArgument: the model has nothing that the promise could be tested by, such as a
            keyword that tells it of padding.
    """
    file = _FILES[type(clause.promise).__name__]
    return import_module(f"sightline.audit.properties.{file}").examine(examination, clause)
