"""Masks that a module was given and that none of its calls of attention got.

A module is judged when the guard ends, so that one that passes its mask to some of its calls, or
builds another from it, is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from inspect import Signature, signature
from typing import Any

import torch
from torch import nn

from sightline.audit.guards.places import Place
from sightline.audit.guards.reading import FORBIDS, MOST_CELLS, has_values
from sightline.audit.guards.records import Call, Said


class Dropped:
    """The modules that called attention, and which masks they were given."""

    def __init__(self) -> None:
        self._masked: dict[int, nn.Module] = {}
        self._suspects: dict[int, tuple[str, Call, Place]] = {}
        self._signatures: dict[type, Signature] = {}

    def see(self, call: Call, place: Place) -> None:
        """Take note of a call: masked, or not though its module was given a mask."""
        module = place.module
        if module is None or id(module) in self._masked:
            return
        if call.parts or call.causal or call.mask is not None:
            self._masked[id(module)] = module
        elif id(module) not in self._suspects:
            name = self._given_mask(call, place)
            if name is not None:
                self._suspects[id(module)] = name, call, place

    def finish(self) -> Iterator[tuple[Said, Call, Place]]:
        """Report the modules none of whose calls were masked."""
        for number, (name, call, place) in self._suspects.items():
            if number not in self._masked:
                said = Said(
                    "mask-dropped",
                    "warning",
                    f"{type(place.module).__name__} was given {name}, which hides keys of this "
                    "call, and called attention without any mask: it is dropped in between.",
                )
                yield said, call, place

    def _given_mask(self, call: Call, place: Place) -> str | None:
        """Return the name of an argument of the calling module that hides keys of this call."""
        module, args, named = place.modules[0]
        kind = type(module)
        if kind not in self._signatures:
            try:
                self._signatures[kind] = signature(kind.forward)
            except (TypeError, ValueError):
                self._signatures[kind] = Signature()
        try:
            bound = self._signatures[kind].bind_partial(module, *args, **named)
        except TypeError:
            return None
        given = {**bound.arguments, **bound.arguments.get("kwargs", {})}
        masks = ((name, value) for name, value in given.items() if "mask" in name)
        return next((name for name, value in masks if _hides_keys(value, call)), None)


def _hides_keys(value: Any, call: Call) -> bool:
    """Return whether a value is a mask tensor of this call's keys that shows some and hides some.

    Only its values decide, so that no sense need be guessed: a mask that hides nothing holds one
    value.
    """
    if not isinstance(value, torch.Tensor) or not 2 <= value.ndim <= 4 or not has_values(value):
        return False
    fits = value.shape[-1] == call.kv_len > 1 and value.shape[0] in (1, call.batch, call.q_len)
    if not fits or not 0 < value.numel() <= MOST_CELLS:
        return False
    value = value.detach()
    if value.is_floating_point():
        hidden = value <= FORBIDS
        if not bool(hidden.any()) and bool(((value == 0) | (value == 1)).all()):
            hidden = value == 0
    else:
        hidden = value == 0
    return bool(hidden.any()) and not bool(hidden.all())
