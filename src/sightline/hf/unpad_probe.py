"""May a model run packed? It is run both ways on a small batch, and the outputs are compared.

What cannot be seen in a small batch, such as a convolution with tiny weights, is refused by its
type. A module whose inputs agree and whose output does not is the one that looks at whole rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch
from torch import nn

from sightline.errors import SightlineError
from sightline.hf.unpad_calls import (
    Path,
    Positions,
    Rule,
    narrow,
    pack_call,
    parts_of,
    running_packed,
    takes,
    widen,
)
from sightline.nn.batch import Batch

_LENGTHS = (9, 4, 6)
# What differs by more than this times the largest number is another result, not rounding.
_ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
# At most so many inner modules get padded rows.
_MOST_PADDED = 4
_MIXES_POSITIONS = (
    nn.modules.conv._ConvNd,
    nn.RNNBase,
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
)


def levels(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield (name, module) of what may be run packed, the largest first."""
    if model.config.is_encoder_decoder:
        encoder = model.get_encoder()
        names = {id(module): name for name, module in model.named_modules()}
        yield names[id(encoder)], encoder
        return
    yield "", model
    if model.base_model is not model:
        yield model.base_model_prefix, model.base_model


def find_rule(module: Any, example: dict[str, Any] | None) -> Rule | str:
    """Return how a module may be run packed, or why not."""
    for name, inner in module.named_modules():
        if mixes_positions(inner):
            return f"{name} ({type(inner).__name__}) mixes positions"
    with quietly(module):
        calls = _calls(module, example)
        if isinstance(calls, str):
            return calls
        found = _find(module, calls)
        if isinstance(found, str) and len(calls) > 1:  # what pools the first column, say
            found = _find(module, calls[:1])
            found = found if isinstance(found, str) else replace(found, sides=("right",))
        if isinstance(found, str):
            return found
        return _with_labels(module, _with_hidden_states(module, found, calls[0]), calls[0])


def mixes_positions(inner: Any) -> bool:
    """Return whether a module looks at more than one position, by its type."""
    one = isinstance(inner, nn.modules.conv._ConvNd) and set(inner.kernel_size) == {1}
    return isinstance(inner, _MIXES_POSITIONS) and not one


# -- the calls to try -------------------------------------------------------------------------


def _calls(module: Any, example: dict[str, Any] | None) -> list[dict[str, Any]] | str:
    if example is not None:
        return [example]
    vocabulary = getattr(module.config.get_text_config(), "vocab_size", None)
    if vocabulary is None or module.main_input_name != "input_ids":
        return f"takes {module.main_input_name}; pass example= to try it on"
    reserved = module.config.pad_token_id
    pad = 0 if not isinstance(reserved, int) or not 0 <= reserved < vocabulary else reserved
    generator = torch.Generator().manual_seed(0)
    found = []
    for side in ("right", "left"):
        batch = Batch.from_lengths(_LENGTHS, side=side)
        ids = torch.randint(vocabulary - 1, (batch.real,), generator=generator)
        ids = ids + (ids >= pad)  # any token but the padding
        found.append({"input_ids": batch.scatter(ids, fill=pad), "attention_mask": batch.valid})
    device = next(module.parameters()).device
    return [
        {
            "input_ids": each["input_ids"].to(device),
            "attention_mask": each["attention_mask"].long().to(device),
        }
        for each in found
    ]


@contextmanager
def quietly(module: Any) -> Iterator[None]:
    """Run without gradients and dropout, and leave modes and random numbers as they were."""
    modes = {inner: inner.training for inner in module.modules()}
    try:
        with torch.no_grad(), torch.random.fork_rng():
            module.eval()
            yield
    finally:
        for inner, mode in modes.items():
            inner.training = mode


# -- comparing --------------------------------------------------------------------------------


def _find(module: Any, calls: list[dict[str, Any]]) -> Rule | str:
    tries: list[tuple[Positions | None, int]] = [(None, 0)]
    if takes(module, "position_ids"):
        offsets = {0, 1, (getattr(module.config, "pad_token_id", None) or 0) + 1}
        tries = [(kind, first) for first, kind in product(sorted(offsets), ("columns", "tokens"))]
    reasons: list[str] = []
    for kind, first in tries:
        found = _find_padded(module, Rule(kind, first), calls)
        if isinstance(found, Rule):
            return found
        reasons.append(found)
    return reasons[0]


def _find_padded(module: Any, rule: Rule, calls: list[dict[str, Any]]) -> Rule | str:
    """Return the rule completed by the modules that need padded rows, or what goes wrong."""
    while True:
        per_token: frozenset[Path] = frozenset()
        guilty: str | None = None
        for call in calls:
            try:
                seen = _compare(module, rule, call)
            except (SightlineError, RuntimeError, IndexError) as failed:
                if rule.padded:
                    return _blame(rule.padded[-1])
                return f"a packed row made it fail ({str(failed).rstrip('.')})"
            if isinstance(seen, str):
                guilty = seen
                break
            per_token |= seen
        if guilty is None:
            return replace(rule, per_token=per_token)
        inner = dict(module.named_modules()).get(guilty)
        name = guilty or type(module).__name__
        holds = [each for each in rule.padded if each.startswith(f"{guilty}.")]
        what = _blame(holds[0] if holds else name)
        if not guilty or inner is None or holds or guilty in rule.padded:
            return what
        if len(rule.padded) == _MOST_PADDED or _holds_layers(inner):
            return what
        rule = replace(rule, padded=(*rule.padded, guilty))


def _blame(name: str) -> str:
    return f"{name} gives something else for a packed batch"


def _holds_layers(inner: Any) -> bool:
    """Return whether this is the bulk of a model, which on padded rows would gain nothing."""
    return any(isinstance(each, nn.ModuleList) and len(each) > 0 for each in inner.modules())


@dataclass
class _Record:
    """What the inner modules of one run were given and gave, in the order in which they ended."""

    inputs: dict[str, list[torch.Tensor]]
    outputs: dict[str, list[torch.Tensor]]


def _compare(module: Any, rule: Rule, call: dict[str, Any]) -> frozenset[Path] | str:
    """Return which parts of the output have a row for each token, or the module that differs."""
    padded, plain = _run(module, call, None, rule)
    made = pack_call(module, rule, (), call)
    if made is None:
        return ""
    row, narrow_run = _run(module, made.keywords, made.batch, rule)
    for name in narrow_run.outputs:
        if name in rule.padded or any(name.startswith(f"{each}.") for each in rule.padded):
            continue
        same_in = _agree(plain.inputs[name], narrow_run.inputs[name], made.batch)
        if same_in and not _agree(plain.outputs[name], narrow_run.outputs[name], made.batch):
            return name
    before, after = dict(parts_of(padded)), dict(parts_of(row))
    found = {path for path, part in after.items() if part.shape[:2] == (1, made.batch.real)}
    for path, part in after.items():
        if path not in before or not _agree([before[path]], [part], made.batch):
            return ""
    return frozenset(found)


def _run(module: Any, call: dict[str, Any], batch: Batch | None, rule: Rule) -> tuple[Any, _Record]:
    record = _Record({}, {})
    handles = []
    for name, inner in module.named_modules():
        if name in rule.padded and batch is not None:
            handles += _around(inner, batch)
        if name:
            handles.append(_listen(inner, name, record))
    try:
        with nullcontext() if batch is None else running_packed(batch):
            return module(**call), record
    finally:
        for handle in handles:
            handle.remove()


def _around(inner: Any, batch: Batch) -> list[Any]:
    return [
        inner.register_forward_pre_hook(
            lambda _, args, kwargs: (widen(args, batch), widen(kwargs, batch)), with_kwargs=True
        ),
        inner.register_forward_hook(lambda _, args, output: narrow(output, batch)),
    ]


def _listen(inner: Any, name: str, record: _Record) -> Any:
    def hook(_: Any, args: Any, kwargs: Any, output: Any) -> None:
        if name not in record.outputs:
            record.inputs[name] = [part for _, part in parts_of((args, kwargs))]
            record.outputs[name] = [part for _, part in parts_of(output)]

    return inner.register_forward_hook(hook, with_kwargs=True)


def _agree(padded: list[torch.Tensor], row: list[torch.Tensor], batch: Batch) -> bool:
    """Return whether tensors of a padded run and of a packed one say the same at real tokens."""
    if len(padded) != len(row):
        return False
    return all(_same(a, b, batch) for a, b in zip(padded, row, strict=True))


def _same(padded: torch.Tensor, row: torch.Tensor, batch: Batch) -> bool:
    if row.shape[:2] == (1, batch.real):
        if padded.shape[:1] == (1,) and padded.shape[1:2] == (batch.length,):
            padded = padded.expand(batch.rows, *padded.shape[1:])
        if padded.shape[:2] != (batch.rows, batch.length):
            return False
        padded = batch.gather(padded)[None]
    if padded.shape != row.shape:
        return False
    if not padded.is_floating_point():
        return bool((padded == row).all())
    scale = float(padded.abs().max()) if padded.numel() else 0.0
    return torch.allclose(padded, row, rtol=0, atol=_ROUNDING[padded.dtype] * max(scale, 1e-30))


# -- what is only there if it is asked for -----------------------------------------------------


def _with_hidden_states(module: Any, rule: Rule, call: dict[str, Any]) -> Rule:
    """Return the rule that knows of the hidden states of all layers too."""
    try:
        seen = _compare(module, rule, call | {"output_hidden_states": True})
    except TypeError:  # it knows of no such argument
        return rule
    return rule if isinstance(seen, str) else replace(rule, per_token=rule.per_token | seen)


def _with_labels(module: Any, rule: Rule, call: dict[str, Any]) -> Rule:
    """Return the rule with how labels for each token are to be packed, if the module takes any."""
    if not takes(module, "labels") or "input_ids" not in call:
        return rule
    labels = call["input_ids"].masked_fill(call["attention_mask"] == 0, -100)
    call = call | {"labels": labels}
    begins = call["attention_mask"].argmax(1, keepdim=True)
    others = labels.scatter(1, begins, 1 - labels.gather(1, begins).clamp(0, 1))
    try:
        loss = _run(module, call, None, rule)[0]["loss"]
        moved = _run(module, call | {"labels": others}, None, rule)[0]["loss"]
    except (ValueError, RuntimeError, IndexError):  # it wants labels of another shape
        return rule
    asked = replace(rule, unlabelled=bool(loss == moved))
    made = pack_call(module, asked, (), call)
    if made is None:
        return rule
    found = _run(module, made.keywords, made.batch, asked)[0]["loss"]
    return asked if _same(loss[None], found[None], made.batch) else rule
