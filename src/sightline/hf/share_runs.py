"""Runs of a model on some tokens, attention answered so that each token sees itself only.

What happened is kept: queries, keys, masks, and what each module was given and gave. share_probe.py
compares a run on all tokens with one on some of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sightline.engines.shared import sharing
from sightline.hf.modules import attending, configs_of
from sightline.hf.shared_calls import WholeCall, calling
from sightline.hf.unpad_calls import parts_of, takes
from sightline.masks.mask import Mask

__all__ = ["Run", "agree_at", "first_to_differ", "run_share", "same_numbers"]

_ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


@dataclass
class Run:
    """What happened in one run.

    Attributes:
        calls: query, key and mask of each call of attention.
        modules: name, what it was given and what it gave, in the order in which they ended.
        made: each mask that was made, as a whole and without padding and the extra mask.
        counts: names of attending modules that counted the tokens at hand.
        output: what the model gave.
    """

    calls: list[tuple[torch.Tensor, torch.Tensor, Mask]] = field(default_factory=list)
    modules: list[tuple[str, Any, Any]] = field(default_factory=list)
    made: list[tuple[Mask, Mask]] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)
    output: Any = None

    def attend(self, query: Any, key: Any, value: Any, mask: Mask, **told: Any) -> Any:
        """Let each token see itself only."""
        self.calls.append((query, key, mask))
        output = value.repeat_interleave(query.shape[1] // value.shape[1], dim=1)
        if told.get("return_lse"):
            return output, query.new_zeros(query.shape[:3], dtype=torch.float32)
        return output

    def positions(self, length: int, device: torch.device) -> torch.Tensor:
        """Return positions that no layer of a transformers model asks for."""
        return torch.arange(length, device=device)[None]

    def stop(self, length: int) -> int:
        """Return where they end."""
        return length


def run_share(model: Any, given: dict[str, Any]) -> Run:
    """Run a model on tokens [1, share]; the 2-D mask, where there is one, is that of the whole."""
    run = Run()
    valid = given.get("attention_mask")
    batch, share = given["input_ids"].shape
    length = share if valid is None else valid.shape[1]
    call = WholeCall(run, configs_of(model), batch, length, share, made=run.made)
    if takes(model, "use_cache"):
        given = given | {"use_cache": False}
    with _recording(model, run, share), sharing(run), calling(call):
        run.output = model(**given)
    return run


@contextmanager
def _recording(model: Any, run: Run, share: int) -> Iterator[None]:
    """Keep what modules are given and give, and which of those that attend count the tokens."""
    within: list[str] = []

    def ended(name: str) -> Any:
        def hook(_: Any, args: Any, kwargs: Any, output: Any) -> None:
            run.modules.append((name, (args, kwargs), output))

        return hook

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):
            result = func(*args, **(kwargs or {}))
            if within and func.overloadpacket is torch.ops.aten.arange and len(result) == share:
                run.counts.append(within[-1])
            return result

    with ExitStack() as until_done:
        for name, module in model.named_modules():
            until_done.callback(module.register_forward_hook(ended(name), with_kwargs=True).remove)
        for name, module in attending(model).items():
            enter = module.register_forward_pre_hook(lambda *_, name=name: within.append(name))
            leave = module.register_forward_hook(lambda *_: within.clear(), always_call=True)
            until_done.callback(enter.remove)
            until_done.callback(leave.remove)
        with Counting():
            yield


def first_to_differ(whole: Run, share: Run, picked: list[int]) -> str | None:
    """Return the first module that was given the same and gave something else."""
    if [name for name, *_ in whole.modules] != [name for name, *_ in share.modules]:
        return None  # such as experts that no token was sent to
    for before, after in zip(whole.modules, share.modules, strict=True):
        if agree_at(before[1], after[1], picked) and not agree_at(before[2], after[2], picked):
            return before[0]
    return None


def agree_at(whole: Any, share: Any, picked: list[int]) -> bool:
    """Return whether the parts of a run on all tokens are, at those picked, those of a share.

    An axis is one of tokens where its sizes are those of the runs. Parts without one, such as a
    pooled row, must be the same.
    """
    before, after = dict(parts_of(whole)), dict(parts_of(share))
    return before.keys() == after.keys() and all(
        _agrees(before[path], after[path], picked) for path in before
    )


def _agrees(whole: torch.Tensor, share: torch.Tensor, picked: list[int]) -> bool:
    if whole.shape == share.shape:
        return same_numbers(whole, share)
    if whole.ndim != share.ndim:
        return False
    index = torch.tensor(picked, device=whole.device)
    for dim in range(whole.ndim):
        if share.shape[dim] == len(picked) and whole.shape[dim] > picked[-1]:
            whole = whole.index_select(dim, index)
    return whole.shape == share.shape and same_numbers(whole, share)


def same_numbers(whole: torch.Tensor, share: torch.Tensor) -> bool:
    """Return whether two tensors are equal up to rounding."""
    if whole.dtype != share.dtype or not whole.is_floating_point():
        return whole.dtype == share.dtype and bool((whole == share).all())
    scale = float(whole.abs().max()) if whole.numel() else 0.0
    most = _ROUNDING.get(whole.dtype, 1e-2) * max(scale, 1e-30)
    return torch.allclose(whole, share, rtol=0, atol=most, equal_nan=True)
