"""``sl.guard``: watches every attention call of a block of code, and says what is wrong with it.

This is the front door. How calls are seen stands in guards/install.py and the files of the entries,
what is wrong with them in guards/checks.py and its siblings. Needs torch.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from sightline.audit.guards.records import GuardFinding, Where
from sightline.errors import InvalidArgument
from sightline.lower.arguments import check_mask, require_torch
from sightline.masks.mask import Mask

__all__ = ["GuardFinding", "Watch", "guard"]


def guard(mode: str = "report", declared: Mask | Mapping[str, Mask] | None = None) -> Watch:
    """Return a context manager that checks every attention call made inside it.

    Watched are torch's ``scaled_dot_product_attention``, ``nn.MultiheadAttention`` with its
    functional form and its fast paths, ``flex_attention``, the attention interface of transformers,
    and our own ``attend`` and layers, as far as they are called in the thread that entered. No
    result changes by a bit, and outside of the block nothing costs anything. Not seen are calls
    inside graphs of ``torch.compile``, attention written out as a product, a softmax and a product,
    a function kept in an attribute before the guard began, and other frameworks (jax, Keras).

    Args:
        mode: "report" collects; "raise" stops at the first error or warning, before the call runs
            where one call decides, and at the end of the block otherwise.
        declared: what self-attention must let through, exactly up to padding: a mask for all of
            the model, or a mask for each name of a module (``named_modules``), which holds for
            all modules below it too. Calls whose queries and keys are not one sequence are left
            out.

    Raises:
        InvalidArgument: another mode, or ``declared`` is no mask.
        MissingExtra: torch is not installed.

    What each check finds is explained in docs/guard.md.

    >>> import torch, torch.nn.functional as F
    >>> query = key = value = torch.randn(2, 3, 5, 8)
    >>> with guard() as watch:
    ...     causal = torch.triu(torch.ones(5, 5, dtype=torch.bool), diagonal=1)
    ...     output = F.scaled_dot_product_attention(query, key, value, attn_mask=causal)
    >>> [finding.check for finding in watch.findings], watch.calls
    (['inverted'], 1)
    """
    require_torch("sl.guard")
    if mode not in ("report", "raise"):
        raise InvalidArgument(f"got mode={mode!r}; wanted 'report' or 'raise'.")
    if isinstance(declared, Mapping):
        for each in declared.values():
            check_mask(each)
    elif declared is not None:
        check_mask(declared)
    return Watch(mode, declared)


class Watch:
    """A guard: enter it to watch, and ask it afterwards, or while it watches.

    >>> import torch, torch.nn.functional as F
    >>> x = torch.zeros(1, 2, 3, 4)
    >>> with guard() as watch:
    ...     _ = F.scaled_dot_product_attention(x, x, x, is_causal=True)
    >>> print(watch)
    1 call of attention, nothing found.
    """

    def __init__(self, mode: Any, declared: Mask | Mapping[str, Mask] | None) -> None:
        from sightline.audit.guards.session import Session

        self._session = Session(mode, declared)
        self._active = False
        self._where = Where("<unknown>", 0)

    @property
    def findings(self) -> tuple[GuardFinding, ...]:
        """Errors and warnings, in the order in which they were found; one a check and line."""
        return tuple(f for f in self._session.found.values() if f.severity != "note")

    @property
    def notes(self) -> tuple[GuardFinding, ...]:
        """What is worth knowing and nothing to act on, such as padded queries that see nothing."""
        return tuple(f for f in self._session.found.values() if f.severity == "note")

    @property
    def calls(self) -> int:
        """How many calls of attention were seen."""
        return self._session.calls

    @property
    def unseen(self) -> tuple[str, ...]:
        """What was not looked at, and why."""
        return tuple(f"{n} x {what}" for what, n in self._session.unseen.items())

    def __enter__(self) -> Watch:
        """Begin to watch this thread.

        Raises:
            InvalidArgument: it is watching already.
        """
        from sightline.audit.guards.here import HERE
        from sightline.audit.guards.install import install
        from sightline.audit.guards.places import line_of

        if self._active:
            raise InvalidArgument("this guard is active already; make another with sl.guard().")
        self._where = line_of(sys._getframe(1))
        install()
        HERE.sessions.append(self._session)
        self._active = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop watching, and say what only the end shows.

        Raises:
            GuardError: in mode "raise", the end shows something that is wrong.
        """
        from sightline.audit.guards.here import HERE
        from sightline.audit.guards.install import uninstall

        HERE.sessions.remove(self._session)
        if not HERE.sessions:
            HERE.forget()
        self._active = False
        uninstall()
        if error is None:
            self._session.finish(self._where)

    def __str__(self) -> str:
        """Return what was found as text."""
        many = f"{self.calls} call{'' if self.calls == 1 else 's'} of attention"
        if not self.calls:
            many = "no call of attention was seen"
        heads = [f"{many}, {len(self.findings) or 'nothing'} found."]
        all_found = map(str, (*self.findings, *self.notes))
        return "\n\n".join([*heads, *all_found, *self._not_looked_at()])

    def _not_looked_at(self) -> list[str]:
        return [f"not looked at: {', '.join(self.unseen)}"] if self.unseen else []
