"""Watches the calls of a model's modules during a pass: who called whom, with what, for what.

Hooks are not used: with any hook torch's encoder layers leave the path that an audit is about.
What the calls say about a leak is judged in localize.py.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from sightline.audit.locating.quiet import Judge, Seen, tensors_in


@dataclass(eq=False)
class Call:
    """One call of a module.

    Attributes:
        module: its dotted name; empty is the model itself.
        kind: its class.
        number: how often it had been called before, in this pass.
        parent: the call during which it was called; None for the first.
        inputs: what was seen of the tensors among its arguments, by their place.
        outputs: the same of what it returned.
        finished: its place in the order in which calls were finished.
    """

    module: str
    kind: str
    number: int
    parent: Call | None
    inputs: dict[str, Seen] = field(default_factory=dict)
    outputs: dict[str, Seen] = field(default_factory=dict)
    finished: int = -1


def put_right(call: Any, right: set[int]) -> bool:
    """Return whether what a call did wrong was put right by one that it is part of.

    Args:
        call: the call; its ``parent`` is the call during which it was made.
        right: the ``id`` of each call that returned what it should.
    """
    while call.parent is not None:
        call = call.parent
        if id(call) in right:
            return True
    return False


class Stopped(BaseException):
    """Ends a pass as soon as what it was run for is over; models may catch any Exception."""


@contextmanager
def replaced_call(run: Callable[..., Any], model: torch.nn.Module) -> Iterator[None]:
    """Within this, ``run(name, module, original, args, kwargs)`` does the calls of submodules.

    Only in this thread, and not where torch compiles: a compiled module is one call.
    """
    names = {id(module): name for name, module in model.named_modules()}
    original = torch.nn.Module.__call__
    thread = threading.get_ident()

    def compiled(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        # What is compiled must find torch as it is.
        torch.nn.Module.__call__ = original
        try:
            return original(module, *args, **kwargs)
        finally:
            torch.nn.Module.__call__ = call

    def call(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        name = names.get(id(module))
        if torch.compiler.is_compiling() or name is None or threading.get_ident() != thread:
            return original(module, *args, **kwargs)
        inner = compiled if _is_compiled(module) else original
        return run(name, module, inner, args, kwargs)

    torch.nn.Module.__call__ = call
    try:
        yield
    finally:
        torch.nn.Module.__call__ = original


def _is_compiled(module: torch.nn.Module) -> bool:
    return isinstance(module, torch._dynamo.OptimizedModule) or (
        getattr(module, "_compiled_call_impl", None) is not None
    )


@contextmanager
def watched_calls(model: torch.nn.Module, judge: Judge) -> Iterator[list[Call]]:
    """Within this, note the calls of a model's modules, in the order in which they begin."""
    calls: list[Call] = []
    open_calls: list[Call] = []
    counts: Counter[str] = Counter()
    finished = 0

    def run(
        name: str, module: torch.nn.Module, original: Any, args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        nonlocal finished
        parent = open_calls[-1] if open_calls else None
        call = Call(name, type(module).__name__, counts[name], parent)
        counts[name] += 1
        call.inputs = seen_in((args, kwargs), judge)
        calls.append(call)
        open_calls.append(call)
        try:
            result = original(module, *args, **kwargs)
        finally:
            open_calls.pop()
        call.outputs = seen_in(result, judge)
        call.finished = finished
        finished += 1
        return result

    with replaced_call(run, model):
        yield calls


@contextmanager
def within_call(
    model: torch.nn.Module,
    name: str,
    number: int,
    within: Callable[[], AbstractContextManager[Any]] = nullcontext,
    after: Callable[[Any], None] = lambda result: None,
) -> Iterator[None]:
    """Within this, one call of one module runs in ``within()``, and then the pass is stopped.

    Args:
        model: the model.
        name: the dotted name of the module.
        number: which of its calls, from 0.
        within: makes what the call runs in.
        after: is given what the call returned.
    """
    count = 0

    def run(
        called: str, module: torch.nn.Module, original: Any, args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        nonlocal count
        wanted = called == name
        count += wanted
        if not wanted or count != number + 1:
            return original(module, *args, **kwargs)
        with within():
            result = original(module, *args, **kwargs)
        after(result)
        raise Stopped

    with replaced_call(run, model):
        try:
            yield
        except Stopped:
            return


def seen_in(value: Any, judge: Judge) -> dict[str, Seen]:
    """Return what is seen of the tensors in nested containers."""
    found = {place: judge.see(tensor) for place, tensor in tensors_in(value)}
    return {place: seen for place, seen in found.items() if seen is not None}
