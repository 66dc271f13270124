"""May a model run on a share of the tokens? It is run on a few both ways, and all is compared.

Attention is answered here so that each token sees itself only: then what a model gives at a token
must not depend on which others are at hand. Queries and keys are compared too, so positions that
are counted from the tokens at hand show. What a few tokens cannot show is refused by its type.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch

from sightline.errors import SightlineError
from sightline.hf.share_runs import Run, agree_at, first_to_differ, run_share, same_numbers
from sightline.hf.shared_calls import refuse
from sightline.hf.unpad_calls import takes
from sightline.hf.unpad_probe import mixes_positions, quietly
from sightline.masks.mask import Mask

__all__ = ["ShareRule", "find_share_rule", "share_labels"]

_TOKENS = 9
_SHARES = (1, 2, 4, 7), (0, 3, 5, 6, 8)  # the first without the first and the last token
_DOCUMENTS = (0, 1, 2, 3, 0, 1, 2, 0, 0)
# Frequencies that are worked out from the largest position at hand.
_STRETCHED = ("dynamic", "longrope")

Positions = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class ShareRule:
    """How a model is run on a share of the tokens.

    Attributes:
        positions: the ``position_ids`` that it uses by itself, from ids and attention mask.
        structures: its masks without padding, documents and the extra mask, and how many modules
            attend by each.
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
    documents = torch.cat([documents[:, :-2], _last_positions(model, documents)], dim=1)
    plain = run_share(model, {"input_ids": ids, "position_ids": columns})
    split = run_share(model, {"input_ids": ids, "position_ids": documents})
    whole = {"input_ids": ids, "position_ids": documents, "attention_mask": valid}
    _compare(model, split, whole)
    bare = dict(plain.made)
    structures = Counter(bare[mask] for _, _, mask in plain.calls)
    if not structures:
        refuse(type(model).__name__, "no module of it attended", "sl.hf.patch, in one process")
    pairs = zip(plain.made, split.made, strict=True)
    packed = frozenset(before for (_, before), (_, after) in pairs if before != after)
    loss = _loss_of(model, whole) if takes(model, "labels") else None
    return ShareRule(positions, tuple(structures.items()), packed, loss)


def _last_positions(model: Any, documents: torch.Tensor) -> torch.Tensor:
    """Return the last two positions that a model knows: what is stretched far away shows there."""
    most = getattr(model.config.get_text_config(), "max_position_embeddings", None) or _TOKENS
    last = max(int(most), int(documents.max()) + 3)
    return torch.tensor([[last - 2, last - 1]], device=documents.device)


def _pad_of(model: Any) -> int:
    config = model.config.get_text_config()
    pad = getattr(config, "pad_token_id", None)
    return pad if isinstance(pad, int) and 0 <= pad < config.vocab_size else 0


# -- comparing ---------------------------------------------------------------------------------


def _compare(model: Any, split: Run, whole: dict[str, Any]) -> None:
    """Refuse a model that gives something else for a token where others are missing.

    Raises:
        CannotExpress: naming the module that looks at the others.
    """
    picked = list(_SHARES[0])
    given = _cut(whole, picked) | {"attention_mask": whole["attention_mask"]}
    try:
        share = run_share(model, given)
    except (RuntimeError, IndexError, ValueError) as failed:
        if isinstance(failed, SightlineError):
            raise
        reason = f"some of the tokens made it fail ({str(failed).rstrip('.')})"
        refuse(type(model).__name__, reason, "sl.hf.patch alone, in one process")
    if share.counts:
        refuse(
            f"{share.counts[0]} of {type(model).__name__}",
            "it counts the tokens at hand in its own code",
            "sl.hf.patch alone, in one process",
        )
    guilty = first_to_differ(split, share, picked)
    same = all(
        same_numbers(a[..., picked, :], b)
        for before, after in zip(split.calls, share.calls, strict=True)
        for a, b in zip(before[:2], after[:2], strict=True)
    )
    if guilty is None and same and agree_at(split.output, share.output, picked):
        return
    name = guilty or type(model).__name__
    refuse(
        f"{name} of {type(model).__name__}" if guilty else name,
        "what it gives for a token depends on which other tokens are at hand",
        "the model without that part, or sl.hf.patch alone, in one process",
    )


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
    own = run_share(model, given)

    def agrees(tried: Positions, where: torch.Tensor) -> bool:
        run = run_share(model, given | {"position_ids": tried(given["input_ids"], real)})
        return all(
            same_numbers(a.movedim(2, 1)[where], b.movedim(2, 1)[where])
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
        wanted = run_share(model, whole | {"labels": labels}).output["loss"]
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
                given["shift_labels"] = part
            total = total + weight * run_share(model, given | told).output["loss"]
        if same_numbers(wanted, total):
            return rule
    return None
