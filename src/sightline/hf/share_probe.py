"""May a model run on a share of the tokens? It is run on a few both ways, and all is compared.

Attention is answered here so that each token sees itself only: then what a model gives at a token
must not depend on which others are at hand. Queries and keys are compared too, so positions that
are counted from the tokens at hand show. What a few tokens cannot show is refused by its type.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch

from sightline.engines.shared import sharing
from sightline.errors import SightlineError
from sightline.hf.shared_calls import WholeCall, calling, refuse
from sightline.hf.unpad_calls import parts_of, takes
from sightline.hf.unpad_probe import mixes_positions, quietly
from sightline.masks.mask import Mask

__all__ = ["ShareRule", "find_share_rule", "share_labels"]

_TOKENS = 9
_SHARES = (1, 2, 4, 7), (0, 3, 5, 6, 8)  # the first without the first and the last token
_DOCUMENTS = (0, 1, 2, 3, 0, 1, 2, 0, 1)
_ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
# Frequencies that are worked out from the largest position at hand.
_STRETCHED = ("dynamic", "longrope")

Positions = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class ShareRule:
    """How a model is run on a share of the tokens.

    Attributes:
        positions: the ``position_ids`` that it uses by itself, from ids and attention mask.
        structures: its masks without documents, and how many modules attend by each.
        packed: those that are kept inside of documents read from ``position_ids``.
        loss: how its loss takes labels: "shifted", "own", "mean" of those it is given; None if it
            takes none, or in a way that is not known.
    """

    positions: Positions
    structures: tuple[tuple[Mask, int], ...]
    packed: frozenset[Mask]
    loss: str | None


_known: WeakKeyDictionary[Any, ShareRule] = WeakKeyDictionary()


def find_share_rule(model: Any) -> ShareRule:
    """Return how a patched model is run on a share of the tokens; found out once for each.

    Raises:
        CannotExpress: it cannot be, and why.
    """
    rule = _known.get(model)
    if rule is None:
        _check_kind(model)
        with quietly(model):
            rule = _known[model] = _find(model)
    return rule


def _check_kind(model: Any) -> None:
    name = type(model).__name__
    alternative = "sl.hf.patch alone, in one process"
    if model.config.is_encoder_decoder:
        refuse(name, "it attends over two sequences, and one can be shared", alternative)
    for inner_name, inner in model.named_modules():
        if mixes_positions(inner):
            part = f"{inner_name} ({type(inner).__name__}) of {name}"
            refuse(part, "it mixes positions outside of attention", alternative)
        kind = getattr(inner, "rope_type", None)
        kinds = kind.values() if isinstance(kind, dict) else [kind]
        if found := [each for each in kinds if each in _STRETCHED]:
            reason = "they are worked out from the largest position at hand"
            refuse(f"rotary frequencies of type {found[0]!r} of {name}", reason, alternative)
    if not takes(model, "position_ids"):
        reason = "it takes no position_ids, so it counts the tokens at hand"
        refuse(name, reason, alternative)
    if model.main_input_name != "input_ids":
        refuse(
            f"{model.main_input_name} of {name}", "it takes something else than tokens", alternative
        )


# -- runs --------------------------------------------------------------------------------------


@dataclass
class _Run:
    """What happened in one run: calls of attention, modules in the order in which they ended."""

    calls: list[tuple[torch.Tensor, torch.Tensor, Mask]] = field(default_factory=list)
    modules: list[tuple[str, Any, Any]] = field(default_factory=list)
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


def _run(model: Any, given: dict[str, Any]) -> _Run:
    run = _Run()
    valid = given.get("attention_mask")
    batch, share = given["input_ids"].shape
    call = WholeCall(run, batch, share if valid is None else valid.shape[1], share)
    if takes(model, "use_cache"):
        given = given | {"use_cache": False}

    def ended(name: str) -> Any:
        def hook(_: Any, args: Any, kwargs: Any, output: Any) -> None:
            run.modules.append((name, (args, kwargs), output))

        return hook

    handles = [
        module.register_forward_hook(ended(name), with_kwargs=True)
        for name, module in model.named_modules()
    ]
    try:
        with sharing(run), calling(call):
            run.output = model(**given)
    finally:
        for handle in handles:
            handle.remove()
    return run


def _find(model: Any) -> ShareRule:
    device = next(model.parameters()).device
    vocabulary = model.config.get_text_config().vocab_size
    pad = _pad_of(model)
    made = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary - 1, (1, _TOKENS), generator=made)
    ids = (ids + (ids >= pad)).to(device)
    positions = _positions_of(model, ids, pad)
    valid = torch.ones_like(ids)
    columns = positions(ids, valid)
    documents = torch.tensor([_DOCUMENTS], device=device) + int(columns[0, 0])
    plain = _run(model, {"input_ids": ids, "position_ids": columns})
    split = _run(model, {"input_ids": ids, "position_ids": documents})
    whole = {"input_ids": ids, "position_ids": documents, "attention_mask": valid}
    _compare(model, split, whole)
    structures = Counter(mask for _, _, mask in plain.calls)
    if not structures:
        refuse(type(model).__name__, "no module of it attended", "sl.hf.patch, in one process")
    pairs = zip(plain.calls, split.calls, strict=True)
    packed = frozenset(before for (*_, before), (*_, after) in pairs if before != after)
    loss = _loss_of(model, whole) if takes(model, "labels") else None
    return ShareRule(positions, tuple(structures.items()), packed, loss)


def _pad_of(model: Any) -> int:
    config = model.config.get_text_config()
    pad = getattr(config, "pad_token_id", None)
    return pad if isinstance(pad, int) and 0 <= pad < config.vocab_size else 0


# -- comparing ---------------------------------------------------------------------------------


def _compare(model: Any, split: _Run, whole: dict[str, Any]) -> None:
    """Refuse a model that gives something else for a token where others are missing.

    Raises:
        CannotExpress: naming the module that looks at the others.
    """
    picked = list(_SHARES[0])
    given = _cut(whole, picked) | {"attention_mask": whole["attention_mask"]}
    try:
        share = _run(model, given)
    except (RuntimeError, IndexError, ValueError) as failed:
        if isinstance(failed, SightlineError):
            raise
        reason = f"some of the tokens made it fail ({str(failed).rstrip('.')})"
        refuse(type(model).__name__, reason, "sl.hf.patch alone, in one process")
    guilty = _first_to_differ(split, share, picked)
    same = all(
        _same(a[..., picked, :], b)
        for before, after in zip(split.calls, share.calls, strict=True)
        for a, b in zip(before[:2], after[:2], strict=True)
    )
    if guilty is None and same and _agree(split.output, share.output, picked):
        return
    name = guilty or type(model).__name__
    refuse(
        f"{name} of {type(model).__name__}" if guilty else name,
        "what it gives for a token depends on which other tokens are at hand",
        "the model without that part, or sl.hf.patch alone, in one process",
    )


def _first_to_differ(whole: _Run, share: _Run, picked: list[int]) -> str | None:
    """Return the first module that was given the same and gave something else."""
    if [name for name, *_ in whole.modules] != [name for name, *_ in share.modules]:
        return None  # such as experts that no token was sent to
    for before, after in zip(whole.modules, share.modules, strict=True):
        if _agree(before[1], after[1], picked) and not _agree(before[2], after[2], picked):
            return before[0]
    return None


def _agree(whole: Any, share: Any, picked: list[int]) -> bool:
    """Return whether the parts of a run on all tokens are, at those picked, those of a share.

    A part has tokens along its last axes but one, or along its second. One with no tokens must be
    the same; one that was left whole (the 2-D mask) is.
    """
    before, after = dict(parts_of(whole)), dict(parts_of(share))
    return before.keys() == after.keys() and all(
        _agrees(before[path], after[path], picked) for path in before
    )


def _agrees(whole: torch.Tensor, share: torch.Tensor, picked: list[int]) -> bool:
    if whole.shape == share.shape:
        return _same(whole, share)
    index = torch.tensor(picked, device=whole.device)
    for dim in range(whole.ndim):
        if (whole.shape[dim], share.shape[dim]) == (_TOKENS, len(picked)):
            whole = whole.index_select(dim, index)
    return whole.shape == share.shape and _same(whole, share)


def _same(whole: torch.Tensor, share: torch.Tensor) -> bool:
    if whole.dtype != share.dtype or not whole.is_floating_point():
        return whole.dtype == share.dtype and bool((whole == share).all())
    scale = float(whole.abs().max()) if whole.numel() else 0.0
    most = _ROUNDING.get(whole.dtype, 1e-2) * max(scale, 1e-30)
    return torch.allclose(whole, share, rtol=0, atol=most, equal_nan=True)


def _cut(whole: dict[str, Any], picked: list[int]) -> dict[str, Any]:
    return {name: each[:, picked] for name, each in whole.items()}


# -- positions that a model counts by itself -----------------------------------------------------


def _columns(ids: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    return torch.arange(ids.shape[1], device=ids.device).expand(ids.shape[0], -1)


def _filled(fill: int) -> Positions:
    """Return real tokens counted, and one number for padding."""

    def filled(ids: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        return (valid.long().cumsum(1) - 1).where(valid != 0, fill)

    return filled


def _counted_from(pad: int) -> Positions:
    def counted(ids: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        there = (ids != pad).long()
        return there.cumsum(1) * there + pad

    return counted


def _positions_of(model: Any, ids: torch.Tensor, pad: int) -> Positions:
    """Return which positions a model uses by itself, tried on a padded batch.

    Raises:
        CannotExpress: none of those that are known.
    """
    starts = torch.tensor([0, 3, 0], device=ids.device)[:, None]
    stops = torch.tensor([_TOKENS, _TOKENS, _TOKENS - 4], device=ids.device)[:, None]
    place = torch.arange(_TOKENS, device=ids.device)
    real = (starts <= place) & (place < stops)
    given = {"input_ids": ids.expand(3, -1).where(real, pad), "attention_mask": real.long()}
    own = _run(model, given)

    def agrees(tried: Positions, where: torch.Tensor) -> bool:
        run = _run(model, given | {"position_ids": tried(given["input_ids"], real)})
        return all(
            _same(a.movedim(2, 1)[where], b.movedim(2, 1)[where])
            for before, after in zip(own.calls, run.calls, strict=True)
            for a, b in zip(before[:2], after[:2], strict=True)
        )

    everywhere = torch.ones_like(real)
    candidates = [_columns, _counted_from(pad)]
    if agrees(_filled(0), real):  # asked first: -1 is no position for most
        candidates += [_filled(0), _filled(1), _filled(-1)]
    for each in candidates:
        if agrees(each, everywhere):
            return each
    return refuse(
        f"the positions that {type(model).__name__} counts by itself",
        "they are none of those that are known",
        "position_ids in the batch",
    )


# -- the loss ------------------------------------------------------------------------------------


def share_labels(rule: str | None, labels: torch.Tensor) -> torch.Tensor:
    """Return which label each token answers for: the next one's, or its own; -100 for none."""
    if rule != "shifted":
        return labels
    return torch.nn.functional.pad(labels, (0, 1), value=-100)[:, 1:]


def _loss_of(model: Any, whole: dict[str, Any]) -> str | None:
    """Return how shares of the labels give the loss of all."""
    labels = whole["input_ids"] % 2
    labels = labels.index_fill(1, torch.tensor([3], device=labels.device), -100)
    try:
        wanted = _run(model, whole | {"labels": labels}).output["loss"]
    except (ValueError, RuntimeError, IndexError, KeyError):  # labels of another kind
        return None
    for rule in ("shifted", "own", "mean"):
        targets = share_labels(rule, labels)
        count = int((targets != -100).sum())
        total = torch.zeros_like(wanted)
        for picked in map(list, _SHARES):
            given = _cut(whole | {"labels": labels}, picked)
            given["attention_mask"] = whole["attention_mask"]
            part = targets[:, picked]
            weight = int((part != -100).sum()) / count if rule == "mean" else 1.0
            told = {} if rule == "mean" else {"num_items_in_batch": count}
            if rule == "shifted":
                told["shift_labels"] = part
            total = total + weight * _run(model, given | told).output["loss"]
        if _same(wanted, total):
            return rule
    return None
