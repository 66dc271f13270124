"""The layers of a torch model as subjects of their own, each with the inputs that it had.

A layer is a member of an outermost ModuleList that is called with a tensor ``[batch, length,
width]``. What is measured of it is left to measured.py.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sightline.audit.probing.feed import Feed, Input
from sightline.audit.probing.runner import Runner
from sightline.audit.probing.subject import Condition, Outputs, named_arrays

__all__ = ["HIDDEN", "Block", "blocks_of"]

# What the tensor that a layer transforms is called in its feed.
HIDDEN = "hidden"


@dataclass(eq=False)
class Block:
    """One layer, called with the arguments of one pass, its first tensor exchanged.

    Attributes:
        name: the module's dotted name.
        module: the module.
        arguments: the arguments of the call, and the keyword arguments.
        slot: which of them is exchanged: a place, or a keyword.
        time_first: that tensor is ``[length, batch, width]``.
    """

    name: str
    module: Any
    arguments: tuple[tuple[Any, ...], dict[str, Any]]
    slot: int | str
    time_first: bool
    dtype: str = "as given"
    model: Any = field(default=None, init=False)
    watched: bool = field(default=False, init=False)
    own_passes: int = field(default=0, init=False)

    @property
    def feed(self) -> Feed:
        """The tensor that is exchanged, batch first."""
        positional, named = self.arguments
        value = positional[self.slot] if isinstance(self.slot, int) else named[self.slot]
        array = value.detach().cpu().numpy()
        return Feed({HIDDEN: Input(HIDDEN, self._turned(array).copy(), "features")})

    def run(self, feed: Feed, condition: Condition, seed: int = 0) -> Outputs:
        """Call the layer alone; see ``Subject``."""
        import torch

        # A layer may write into its arguments, such as a cache.
        positional, named = copy.deepcopy(self.arguments)
        given: dict[int | str, Any] = {**dict(enumerate(positional)), **named}
        old = given[self.slot]
        new = torch.from_numpy(np.ascontiguousarray(self._turned(feed.inputs[HIDDEN].values)))
        given[self.slot] = new.to(old.device, old.dtype)
        with torch.random.fork_rng(devices=[]), torch.no_grad(), condition.within():
            torch.manual_seed(seed)
            result = self.module(
                *[given[place] for place in range(len(positional))],
                **{name: given[name] for name in named},
            )
        arrays = [each for each in named_arrays(result).values() if each.ndim == 3]
        return {"output": self._turned(arrays[0])} if arrays else {}

    def conditions(self, feed: Feed) -> list[Condition]:
        """Return the one way: as it was called."""
        return [Condition("as called")]

    def in_dtype(self, dtype: str) -> None:
        """Return None: a layer has the numbers of its model."""
        return

    def _turned(self, array: Any) -> Any:
        return array.swapaxes(0, 1) if self.time_first else array


def blocks_of(runner: Runner, feed: Feed) -> tuple[list[Block], list[str]]:
    """Return the layers that a pass calls, and why others are left out. Takes one pass."""
    members = dict(_members(runner.subject.model))
    names = {id(module): name for name, module in members.items()}
    found: dict[str, Block] = {}
    skipped: dict[str, str] = {}

    def hook(module: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        name = names[id(module)]
        if name in found or name in skipped:
            return
        slot = _slot(positional, named, feed.batch)
        if slot is None:
            skipped[name] = f"{name} is left out: it is called without a [batch, length, width]"
            return
        try:
            arguments = copy.deepcopy((positional, named))
        except Exception as error:
            why = f"{type(error).__name__}: {error}".splitlines()[0]
            skipped[name] = f"{name} is left out: its arguments cannot be copied ({why})"
            return
        found[name] = Block(name, module, arguments, *slot)

    handles = [m.register_forward_pre_hook(hook, with_kwargs=True) for m in members.values()]
    try:
        runner(feed)
    finally:
        for handle in handles:
            handle.remove()
    return [found[name] for name in members if name in found], list(skipped.values())


def _members(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the members of the outermost lists of modules, each module once."""
    from torch.nn import ModuleList

    inside: list[str] = []
    seen: set[int] = set()
    for name, module in model.named_modules():
        if not isinstance(module, ModuleList) or any(name.startswith(each) for each in inside):
            continue
        inside.append(f"{name}.")
        for index, member in enumerate(module):
            if id(member) not in seen:
                seen.add(id(member))
                yield f"{name}.{index}", member


def _slot(
    positional: tuple[Any, ...], named: dict[str, Any], batch: int
) -> tuple[int | str, bool] | None:
    """Return the first argument ``[batch, length, width]`` of floats, and whether time is first."""
    import torch

    for slot, value in (*enumerate(positional), *named.items()):
        if isinstance(value, torch.Tensor) and value.ndim == 3 and value.is_floating_point():
            if value.shape[0] == batch:
                return slot, False
            if value.shape[1] == batch:
                return slot, True
    return None
