"""PROVE IT: does any output depend on an input that its mask forbids, and where does that start?

``sl.audit(model, contract)`` is this package, called: its front door is probe.py. The contracts
that are more than a mask (``sl.audit.pad_invariant()``, ...) and what an audit returns are public
names of the package, each loaded from its file when it is first used.
"""

from __future__ import annotations

from sightline.lazy import lazy_names
from sightline.masks.front_door import make_callable

# The files that hold the public names. Adding a name: a word here.
_ROOMS = {
    "contracts": (
        "Contract backend_parity batch_invariant cache_parity isolated mask_sensitive "
        "pad_invariant strict"
    ),
    "findings": "Finding Matrix Pair Place Report",
    "fingerprint": "Fingerprint",
    "guard": "Watch",
    "guards.records": "GuardFinding",
    "linting.records": "LintFinding LintReport",
}
__all__, __getattr__ = lazy_names("sightline.audit", _ROOMS)


def __dir__() -> list[str]:
    return list(__all__)


make_callable(__name__, file="probe")
