"""A torch module as a subject: a copy of it in float64, run with the same dropout each time.

The user's model is never changed: it is copied, and what a pass changes in the copy (buffers,
training or evaluation) is put back. The ways of running it stand in torch_conditions.py.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from sightline.audit.probing.feed import Feed
from sightline.audit.probing.subject import Condition, Outputs, named_arrays
from sightline.audit.probing.torch_conditions import conditions_of
from sightline.errors import InvalidArgument
from sightline.lower.arguments import require_torch

_WHAT = "sl.audit of a torch module"


class _AskedBack(Exception):
    """A model runs a backward pass inside its forward pass, which needs what was not kept."""


def _refuse(_: Any) -> Any:
    raise _AskedBack


class TorchSubject:
    """A torch module, copied.

    Args:
        model: the module.
        dtype: ``"float64"``, ``"float32"``, or ``"own"`` for the numbers it has.
        time_first: its tensors are ``[sequence, batch, ...]``.
        reinitialise: give its weights new random values, none of them zero or tiny.
        seed: for the new values.
    """

    def __init__(
        self,
        model: Any,
        *,
        name: str = "",
        dtype: str = "float64",
        time_first: bool = False,
        reinitialise: bool = False,
        seed: int = 0,
    ) -> None:
        self._torch = require_torch(_WHAT)
        self.name = name or type(model).__name__
        self.dtype = dtype
        self.time_first = time_first
        self.called: set[str] = set()
        self.source = ""  # "module:factory", what made the model, if that is known
        self.watched = False
        self.own_passes = 0
        self._original = model
        self._options = {"reinitialise": reinitialise, "seed": seed}
        self.model: Any = self._copied(model)
        if reinitialise:
            _reinitialise(self._torch, self.model, seed)
        self.model.eval()
        if any(each.device.type == "mps" for each in self.model.parameters()):
            self.model.cpu()  # which has float64
        if dtype != "own":
            self.model.to(getattr(self._torch, dtype))
        first = next(iter(self.model.parameters()), None)
        self._device = "cpu" if first is None else first.device
        floats = (p.dtype for p in self.model.parameters() if p.is_floating_point())
        self._floats = next(floats, self._torch.get_default_dtype() if dtype == "own" else None)
        if self._floats is None:
            self._floats = getattr(self._torch, dtype)

    def _copied(self, model: Any) -> Any:
        try:
            return copy.deepcopy(model)
        except Exception as error:
            raise InvalidArgument(
                f"{type(model).__name__} cannot be copied ({type(error).__name__}: {error}), and "
                "an audit does not touch the model it is given; give a function that makes it, or "
                "drop what cannot be copied (hooks, tensors with gradients kept as attributes)."
            ) from error

    def in_dtype(self, dtype: str) -> TorchSubject | None:
        """Return the same subject in other numbers."""
        if self.dtype == "own":
            return None
        options: dict[str, Any] = dict(self._options)
        other = type(self)(
            self._original, name=self.name, dtype=dtype, time_first=self.time_first, **options
        )
        other.called |= self.called
        other.source = self.source
        return other

    def conditions(self, feed: Feed) -> list[Condition]:
        """Return the ways in which it can be run; more are known after the first run."""
        return conditions_of(self, feed)

    def run(self, feed: Feed, condition: Condition, seed: int = 0) -> Outputs:
        """Run it once; see ``Subject``.

        With gradients on, nothing is kept for a backward pass, unless the model runs one itself.
        """
        values = {n: self.tensor(each.values, each.kind) for n, each in feed.inputs.items()}
        unkept = self._torch.autograd.graph.saved_tensors_hooks(lambda _: None, _refuse)
        with self._torch.no_grad():
            try:
                with unkept:
                    result = self.call(values, feed, condition, seed)
            except _AskedBack:
                result = self.call(values, feed, condition, seed)
        return self._batch_first(named_arrays(result), feed)

    def call(self, values: dict[str, Any], feed: Feed, condition: Condition, seed: int) -> Any:
        """Return what the model returns for tensors instead of the feed's values."""
        torch = self._torch
        first = list(values.values())[: feed.positional]
        named = dict(list(values.items())[feed.positional :])
        extra = {k: self.tensor(v, "fixed") for k, v in condition.given(feed).items()}
        with torch.random.fork_rng(devices=[]), _restored(torch, self.model):
            torch.manual_seed(seed)
            with condition.within(), _calls(torch, self.called, self.watched):
                return self.model(*first, **{**named, **extra})

    def tensor(self, value: Any, kind: str) -> Any:
        """Return a value of a feed as the model takes it."""
        torch = self._torch
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(np.ascontiguousarray(value).copy())
            if self.time_first and kind != "fixed":
                value = value.transpose(0, 1)
        if not isinstance(value, torch.Tensor):
            return value
        return value.to(self._device, self._floats if value.is_floating_point() else None)

    def _batch_first(self, outputs: Outputs, feed: Feed) -> Outputs:
        if not self.time_first:
            return outputs
        return {
            name: array.swapaxes(0, 1)
            if array.ndim >= 2 and array.shape[1] == feed.batch and array.shape[0] in feed.lengths
            else array
            for name, array in outputs.items()
        }


@contextmanager
def _restored(torch: Any, model: Any) -> Iterator[None]:
    """Put back what a pass may change: buffers such as running means, and the modes."""
    model.eval()
    kept = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        model.eval()
        with torch.no_grad():
            for buffer, value in kept:
                if buffer.shape == value.shape:
                    buffer.copy_(value)


def _reinitialise(torch: Any, model: Any, seed: int) -> None:
    """Give every parameter a random value of the size that keeps activations near 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.is_floating_point():
                continue
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            if parameter.ndim >= 2:
                noise = noise / max(parameter[0].numel(), 1) ** 0.5
            elif name.endswith("weight"):  # of a norm
                noise = 1 + 0.1 * noise
            else:
                noise = 0.1 * noise
            parameter.copy_(noise.to(parameter.device, parameter.dtype))


def _calls(torch: Any, called: set[str], watched: bool) -> Any:
    """Return a mode that notes which functions of torch a pass calls.

    Under such a mode torch's encoder layers leave their fast path.
    """
    if not watched:
        return nullcontext()
    from torch.overrides import TorchFunctionMode

    class Calls(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            called.add(getattr(func, "__name__", ""))
            return func(*args, **(kwargs or {}))

    return Calls()
