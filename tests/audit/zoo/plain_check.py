"""An independent check of one claim about one model: change one thing at a time, and look.

Slow and obvious, in float64, one position a forward pass. It shares nothing with the library's
audit but the masks' drawings (`Mask.dense`). Its answer is a size, not a verdict: a real leak is
far above rounding, and a right model's drift is far below a leak (see LEAK and DRIFT).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from .fault import (
    BatchInvariant,
    CacheParity,
    Claim,
    Condition,
    Inputs,
    Isolated,
    MaskSensitive,
    PadInvariant,
    Sees,
)

LEAK = 1e-8  # relative to the output's largest entry; every wrong twin is above
DRIFT = 1e-11  # every right twin is below

Given = dict[str, Any]
Run = Callable[[Given], Tensor]


def violation(model: nn.Module, claim: Claim, inputs: Inputs, when: Condition) -> float:
    """Return the largest change that the claim forbids, relative to the largest output.

    For `MaskSensitive` it is 1 where nothing changed and 0 where something did.
    """
    given = wide(inputs(when.length) | (when.extra(when.length) if when.extra else {}))
    model = copy.deepcopy(model).double().train(when.training)
    if when.before is not None:
        model(**wide(when.before(when.length)))

    def run(changed: Given) -> Tensor:
        # What a forward pass keeps, running statistics for one, must not reach the next.
        fresh = copy.deepcopy(model) if when.training or when.before else model
        torch.manual_seed(3)
        with torch.set_grad_enabled(when.gradients):
            return first_tensor(fresh(**changed)).detach()

    checks: dict[type, Callable[[Run, Given, Any], float]] = {
        Sees: _sees,
        PadInvariant: _pads,
        BatchInvariant: _batch,
        Isolated: _isolated,
        MaskSensitive: _sensitive,
    }
    if isinstance(claim, CacheParity):
        return _cached(model, given, claim)
    return checks[type(claim)](run, given, claim)


def wide(given: Given) -> Given:
    """Return the inputs with floats as float64."""
    return {
        name: x.double() if isinstance(x, Tensor) and x.is_floating_point() else x
        for name, x in given.items()
    }


def first_tensor(output: Any) -> Tensor:
    """Return the output that claims speak of: the only one, or the first."""
    if isinstance(output, dict):
        return output["logits"] if "logits" in output else output["last_hidden_state"]
    return output if isinstance(output, Tensor) else output[0]


def other_values(x: Tensor) -> Iterator[Tensor]:
    """Yield replacements of all entries of an input, none of them the old one."""
    if x.is_floating_point():
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=x.dtype)
        for size in (1.0, 30.0):
            yield x + size * noise
        return
    low, high = int(x.min()), int(x.max()) + 1
    yield low + (x - low + max(1, (high - low) // 3)) % (high - low)


def _size(new: Tensor, old: Tensor) -> Tensor:
    """Return the change of each position, [B, Q], relative to the largest output."""
    change = (new - old).abs().nan_to_num(nan=float("inf"))
    both_nan = new.isnan() & old.isnan()
    change = change.masked_fill(both_nan, 0.0) / old.nan_to_num().abs().max().clamp_min(1.0)
    return change.flatten(2).amax(-1) if change.ndim > 2 else change.amax(-1, keepdim=True)


def _sees(run: Run, given: Given, claim: Sees) -> float:
    base = run(given)
    worst = 0.0
    for name, mask in claim.masks.items():
        x = given[name]
        allowed = torch.as_tensor(mask.dense(base.shape[1], x.shape[1]))[:, 0]
        for changed in other_values(x):
            for place in range(x.shape[1]):
                new = x.clone()
                new[:, place] = changed[:, place]
                moved = _size(run(given | {name: new}), base)
                worst = max(worst, float(moved.masked_fill(allowed[:, :, place], 0.0).max()))
    return worst


def _real(given: Given, name: str) -> Tensor:
    """Return which positions of the padded input are real, bool [B, T]."""
    for key in ("attention_mask", "valid", "keep"):
        if key in given:
            return given[key].bool()
    return torch.arange(given[name].shape[1]) < given["lengths"][:, None]


def _padded_names(given: Given) -> list[str]:
    """Return the inputs that have content at padding: all but what describes the padding."""
    about = {"attention_mask", "valid", "keep", "lengths", "target", "position_ids"}
    return [name for name, x in given.items() if isinstance(x, Tensor) and name not in about]


def _pads(run: Run, given: Given, claim: PadInvariant) -> float:
    base, worst = run(given), 0.0
    names = _padded_names(given)
    real = _real(given, names[0])
    names = [name for name in names if given[name].shape[:2] == real.shape]
    # An output of another length (pooled, or of the target) is real everywhere.
    shown = real if base.shape[1] == real.shape[1] and base.ndim > 2 else torch.ones(1, 1).bool()
    for name in names:
        x = given[name]
        for changed in other_values(x):
            keep = real.reshape(*real.shape, *[1] * (x.ndim - 2))
            moved = _size(run(given | {name: torch.where(keep, x, changed)}), base)
            worst = max(worst, float(moved.masked_fill(~shown, 0.0).max()))
    for row in range(len(real)):
        alone = {key: _cut(x, row, real[row]) for key, x in given.items()}
        shown_here = real[row] if shown.shape[1] > 1 else slice(None)
        moved = _size(run(alone), base[row : row + 1, shown_here])
        worst = max(worst, float(moved.max()))
    return worst


def _cut(x: Any, row: int, real: Tensor) -> Any:
    """Return one row of an input, without its padding."""
    if not isinstance(x, Tensor):
        return x
    one = x[row : row + 1]
    return one[:, real] if one.ndim > 1 and one.shape[1] == len(real) else one


def _batch(run: Run, given: Given, claim: BatchInvariant) -> float:
    base, worst = run(given), 0.0
    for name in _padded_names(given):
        for changed in other_values(given[name]):
            for row in range(len(base)):
                new = given[name].clone()
                new[row] = changed[row]
                moved = _size(run(given | {name: new}), base)
                moved[row] = 0.0
                worst = max(worst, float(moved.max()))
    return worst


def _isolated(run: Run, given: Given, claim: Isolated) -> float:
    base, worst = run(given), 0.0
    segments = given["segment_ids"]
    for row in range(len(segments)):
        for segment in segments[row].unique():
            here = segments[row] == segment
            alone = {key: x[row : row + 1, here] for key, x in given.items()}
            alone["segment_ids"] = torch.zeros_like(alone["segment_ids"])
            worst = max(worst, float(_size(run(alone), base[row : row + 1, here]).max()))
    return worst


def _cached(model: nn.Module, given: Given, claim: CacheParity) -> float:
    tokens = given["input_ids"]
    whole = copy.deepcopy(model)(tokens)[0]
    fresh = copy.deepcopy(model)
    pieces, past = [], None
    cuts = [0, claim.split, *range(claim.split + 1, tokens.shape[1] + 1)]
    for start, stop in pairwise(cuts):
        logits, past = fresh(tokens[:, start:stop], past_key_values=past, use_cache=True)
        pieces.append(logits)
    return float(_size(torch.cat(pieces, dim=1).detach(), whole.detach()).max())


def _sensitive(run: Run, given: Given, claim: MaskSensitive) -> float:
    base = run(given)
    mask = given[claim.name].clone()
    hidden = 2  # a real token of every row, and not the only one
    mask[:, hidden] = 0
    moved = _size(run(given | {claim.name: mask}), base)
    if moved.shape[1] > hidden:
        moved[:, hidden] = 0.0
    return 0.0 if float(moved.max()) > LEAK else 1.0
