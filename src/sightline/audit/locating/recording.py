"""Records the torch operations of a part of a pass: what they were given, made, and by which line.

What two recordings say about a leak is found in operations.py.
"""

from __future__ import annotations

import weakref
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.overrides import TorchFunctionMode, resolve_name

from sightline.audit.locating.facts import Arguments, arguments_of
from sightline.audit.locating.frames import calling_line, text_of
from sightline.audit.locating.quiet import Judge, Seen, tensors_in

# What only asks about a tensor, by name; not worth recording.
_ASKS = (
    "size dim is_floating_point is_contiguous stride numel element_size get_device is_complex "
    "__len__ item tolist __bool__ __format__ __repr__ register_hook data_ptr untyped_storage "
    "type_as is_same_size storage_offset is_inference retain_grad"
)
# What makes features, on the last axis.
_FEATURES = frozenset({"linear", "embedding", "layer_norm"})
_ASKING = frozenset(_ASKS.split())


@dataclass(eq=False)
class Operation:
    """One torch operation of a pass.

    Attributes:
        index: its place in the order of execution.
        name: as torch has it, without its module: ``softmax``.
        shown: as a user writes it: ``torch.softmax``, ``Tensor.cumsum``.
        file: of the line that called it.
        line: its number.
        inputs: what was seen of its tensors.
        makers: the operations that made its inputs, by their place.
        outputs: what was seen of its results.
        arguments: what it was called with; only kept of operations that may be to blame.
        wrote: it changed one of its inputs.
    """

    index: int
    name: str
    shown: str
    file: str
    line: int
    inputs: dict[str, Seen]
    makers: dict[str, Operation]
    outputs: dict[str, Seen] = field(default_factory=dict)
    arguments: Arguments | None = None
    wrote: bool = False

    @property
    def where(self) -> tuple[str, str, int, str]:
        """Operation, file, line and text, as a ``Place`` has them."""
        return self.shown, self.file, self.line, text_of(self.file, self.line)


Key = tuple[str, str, int, int]


class Recorder(TorchFunctionMode):
    """Records the operations of what runs within it.

    Args:
        judge: looks at the tensors.
        before: what an earlier recorder recorded; arguments are kept where results differ from it.
    """

    def __init__(self, judge: Judge, before: dict[Key, Operation]) -> None:
        super().__init__()
        self.operations: dict[Key, Operation] = {}
        self._judge = judge
        self._before = before
        self._counts: Counter[tuple[str, str, int]] = Counter()
        self._makers: dict[int, tuple[Any, Operation]] = {}
        # In-place operations, by the memory that they wrote to.
        self._writers: dict[int, Operation] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, and record it if tensors come of it."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _ASKING or name.startswith(("is_", "_set_grad", "_is_")):
            return func(*args, **kwargs)
        if name == "__get__":
            return self._got(func, args, kwargs)
        given = list(tensors_in((args, kwargs)))
        inputs = {p: seen for p, t in given if (seen := self._judge.see(t)) is not None}
        makers = {p: made for p, t in given if (made := self.maker(t)) is not None}
        versions = [(t, _version(t)) for _, t in given]
        arguments = arguments_of(func, args, kwargs) if self._before else None
        result = func(*args, **kwargs)
        written = [t for t, version in versions if _version(t) != version]
        made = [t for _, t in tensors_in(result)]
        if not made and not written:
            return result
        operation = self._added(func, name, inputs, makers)
        results = {f".{n}": t for n, t in enumerate([*made, *written])}
        for place, tensor in results.items():
            seen = self._judge.see(tensor, features_last=name in _FEATURES)
            if seen is not None:
                operation.outputs[place] = seen
            self._makers[id(tensor)] = (weakref.ref(tensor), operation)
        operation.wrote = bool(written)
        for tensor in written:
            self._writers[_memory(tensor)] = operation
        self._keep(operation, arguments)
        return result

    def _got(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Return an attribute; one that is a tensor (``.T``, ``.data``) was made by the same."""
        result = func(*args, **kwargs)
        if isinstance(result, torch.Tensor) and args and result is not args[0]:
            maker = self.maker(args[0])
            if maker is not None:
                self._makers[id(result)] = (weakref.ref(result), maker)
        return result

    def _added(
        self, func: Any, name: str, inputs: dict[str, Seen], makers: dict[str, Operation]
    ) -> Operation:
        file, line = calling_line()
        spot = (name, file, line)
        key = (*spot, self._counts[spot])
        self._counts[spot] += 1
        operation = Operation(
            len(self.operations), name, _shown(func, name), file, line, inputs, makers
        )
        self.operations[key] = operation
        # Arguments are kept where the results differ: the key is needed there.
        self._last = key
        return operation

    def _keep(self, operation: Operation, arguments: Arguments | None) -> None:
        earlier = self._before.get(self._last)
        if earlier is not None and changes(earlier.outputs, operation.outputs, 0.0, True):
            if arguments is not None:
                arguments.settle(operation.name, self._judge.axes)
            operation.arguments = arguments

    def maker(self, tensor: torch.Tensor) -> Operation | None:
        """Return the operation that made a tensor, or last wrote to it."""
        kept = self._makers.get(id(tensor))
        made = kept[1] if kept is not None and kept[0]() is tensor else None
        wrote = self._writers.get(_memory(tensor))
        if made is None or (wrote is not None and wrote.index > made.index):
            return wrote
        return made


def changes(
    before: dict[str, Seen], after: dict[str, Seen], level: float, unsure: bool
) -> list[str]:
    """Return the places of what changed and must not; ``unsure``: or perhaps must not."""
    return [
        place
        for place, seen in after.items()
        if place in before
        and (unsure or seen.quiet is not None)
        and before[place].change(seen) > level * seen.fine
    ]


def _version(tensor: torch.Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def _memory(tensor: torch.Tensor) -> int:
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):  # tensors of functorch, sparse ones
        return id(tensor)


def _shown(func: Any, name: str) -> str:
    full = resolve_name(func) or name
    full = full.replace("torch.Tensor.", "Tensor.").replace("torch.functional.", "torch.")
    return full if full.startswith(("torch.", "Tensor.")) else f"torch.{name}"
