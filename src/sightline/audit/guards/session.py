"""One guard at work: what it has found so far, and what it says when it ends.

It is given calls (here.py) and keeps what takes several of them: the layers of a pass, declared
masks that never arrived, masks that a module got and no kernel did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

from torch import nn

from sightline.audit.guards.declared import as_digest, check_declared, offset_of
from sightline.audit.guards.dropped import Dropped
from sightline.audit.guards.layers import Layer, Stacks
from sightline.audit.guards.places import Names, Place
from sightline.audit.guards.records import Call, GuardFinding, Said, Where
from sightline.audit.guards.sight import Sight
from sightline.errors import GuardError
from sightline.masks.mask import Mask

Mode = Literal["report", "raise"]


class Session:
    """What one guard has seen."""

    def __init__(self, mode: Mode, declared: Mask | Mapping[str, Mask] | None) -> None:
        self.mode = mode
        self.declared = {"": declared} if isinstance(declared, Mask) else dict(declared or {})
        self.calls = 0
        self.unseen: Counter[str] = Counter()
        self.found: dict[Any, GuardFinding] = {}
        self._names = Names()
        self._stacks = Stacks()
        self._dropped = Dropped()
        self._compared: set[str] = set()
        # Modules that were seen with as many queries as keys: later keys are those of a cache.
        self._square: dict[int, nn.Module] = {}

    def see(self, call: Call, sight: Sight, said: Iterable[Said], place: Place) -> None:
        """Take note of a call that is about to run.

        Raises:
            GuardError: in mode "raise", something is wrong with it.
        """
        self.calls += call.whole
        for each in said:
            self._add(each, call, place)
        if not call.whole:
            return
        self._compare(call, sight, place)
        self._dropped.see(call, place)
        if place.module is not None:
            for each, layer in self._stacks.add(Layer(as_digest(sight), call, place)):
                self._add(each, layer.call, layer.place)

    def finish(self, where: Where) -> None:
        """Say what only the end shows; ``where`` is the line of the guard itself.

        Raises:
            GuardError: in mode "raise", something is wrong.
        """
        for said, layer in self._stacks.finish():
            self._add(said, layer.call, layer.place)
        for said, call, place in self._dropped.finish():
            self._add(said, call, place)
        for name in sorted(self.declared.keys() - self._compared):
            of = f" for {name!r}" if name else ""
            seen = f"{self.calls} calls were" if self.calls else "no call of attention was"
            said = Said(
                "declared-unseen",
                "warning",
                f"{self.declared[name]} was declared{of}, and {seen} seen, none of which it could "
                "be compared with (self-attention with as many queries as keys, or a cache that "
                "began so). Name the module as named_modules() does.",
            )
            self._keep(GuardFinding(said.check, said.message, where, "none", said.severity))

    # -- declared masks -----------------------------------------------------------------------

    def _compare(self, call: Call, sight: Sight, place: Place) -> None:
        if not self.declared:
            return
        name = self._declared_name(place)
        if name is None:
            return
        module = place.module
        cached = module is not None and id(module) in self._square
        if module is not None and call.q_len == call.kv_len:
            self._square[id(module)] = module
        if name != self._names.name_of(place) and self._is_cross(place):
            return
        offset = offset_of(call, cached)
        if offset is None:
            return
        self._compared.add(name)
        for said in check_declared(call, sight, self.declared[name], offset):
            self._add(said, call, place)

    def _declared_name(self, place: Place) -> str | None:
        """Return the declared name that the calling module, or the nearest around it, has."""
        own = self._names.name_of(place)
        parts = own.split(".") if own else []
        for stop in range(len(parts), -1, -1):
            name = ".".join(parts[:stop])
            if name in self.declared:
                return name
        return None

    @staticmethod
    def _is_cross(place: Place) -> bool:
        """Return whether the calling module was given another sequence to look at."""
        if not place.modules:
            return False
        module, _, given = place.modules[0]
        others = ("key_value_states", "encoder_hidden_states", "cross_attention_states")
        return bool(getattr(module, "is_cross_attention", False)) or any(
            given.get(name) is not None for name in others
        )

    # -- findings -----------------------------------------------------------------------------

    def _add(self, said: Said, call: Call, place: Place) -> None:
        self._keep(
            GuardFinding(
                check=said.check,
                message=said.message,
                where=place.where,
                call=str(call),
                severity=said.severity,
                module=self._names.shown(place),
                caller=place.caller,
            )
        )

    def _keep(self, finding: GuardFinding) -> None:
        key = finding.check, finding.severity, finding.where
        before = self.found.get(key)
        if before is not None:
            finding = replace(before, times=before.times + 1)
        self.found[key] = finding
        if self.mode == "raise" and finding.severity != "note":
            raise GuardError(str(finding), finding)
