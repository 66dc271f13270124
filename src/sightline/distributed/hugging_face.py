"""``sl.distributed.hf_parallel``: a patched Hugging Face model on a share of the tokens.

It cuts a batch, tells the masks what the whole was (hf/shared_calls.py), and takes care of what a
model would count from the tokens at hand: positions, shifted labels, how many labels there are.
Whether a model allows that is found out in hf/share_probe.py.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch

from sightline.distributed.agreement import agree
from sightline.distributed.batch import shard_batch
from sightline.distributed.context import context_parallel
from sightline.distributed.layout import Spread, spread
from sightline.distributed.ranks import Ranks
from sightline.engines.shared import shared_sequence
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.hf.closures import Frame
from sightline.hf.mask_function import whole_mask
from sightline.hf.modules import configs_of
from sightline.hf.patching import is_patched
from sightline.hf.settings import setting_of
from sightline.hf.share_probe import ShareRule, find_share_rule, share_labels
from sightline.hf.shared_calls import WholeCall, calling, refuse
from sightline.hf.unpad_calls import named, takes
from sightline.hf.unpadding import is_unpadded
from sightline.masks.data import documents
from sightline.masks.mask import Mask

__all__ = ["HFShare", "hf_parallel"]

_REFUSED = {
    "past_key_values": "its keys are those of the tokens at hand",
    "use_cache": "its keys would be those of the tokens at hand",
    "output_attentions": "the weights are made for the tokens at hand only",
    "output_router_logits": "the loss of the router is worked out from the tokens at hand",
    "logits_to_keep": "the last tokens at hand are not the last of the sequence",
    "shift_labels": "they are made here, from labels",
}


class HFShare(dict[str, Any]):
    """Keyword arguments for a model, cut to this rank's tokens.

    Attributes:
        spread: who holds which tokens; ``sl.distributed.unshard(logits, share.spread)``.
    """

    def __init__(self, given: dict[str, Any], spread: Spread) -> None:
        super().__init__(given)
        self.spread = spread


@contextmanager
def hf_parallel(
    model: Any, batch: Mapping[str, Any], *, group: Any = None, **options: Any
) -> Iterator[HFShare]:
    """Run a patched transformers model on this rank's share of a batch, inside the block.

    Each token gives what it gives in one process: masks are those of the whole batch (causal,
    windows, chunks, packed documents, padding), positions are absolute, a label is that of the
    token that follows in the whole. The mean of the losses of all ranks is the loss of one
    process, and so are the means of their gradients, which is what DDP and FSDP take. There is no
    cache; one process called with ``use_cache=False`` is what it equals (with a cache,
    transformers lets packed documents see each other).

    Args:
        model: patched by ``sl.hf.patch``; DDP and FSDP may be wrapped around it.
        batch: what the model is called with for the whole sequence, the same on every rank:
            ``input_ids`` or ``inputs_embeds`` [batch, length, ...], and, as you like,
            ``attention_mask`` and ``position_ids`` [batch, length], ``labels`` for each token, and
            others that have a row for each token.
        group: as for ``sl.distributed.spread``.
        options: those of ``sl.distributed.spread``: block, communication, costs, overlap.

    Yields:
        The keyword arguments for ``model(**share)``. Call ``backward()`` inside the block where
        layers are recomputed.

    Raises:
        CannotExpress: a model, or an argument, that a share of the tokens cannot give: generation
            and caches, weights, encoder-decoders, layers that mix positions outside of attention.
        InvalidArgument: the model is not patched.
        RanksDisagree: the ranks were given different batches.
        ShapeMismatch: a tensor without a row for each token.

    >>> import sightline as sl, torch, torch.distributed as dist, transformers
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> config = transformers.LlamaConfig(
    ...     vocab_size=11, hidden_size=8, intermediate_size=8, num_hidden_layers=2,
    ...     num_attention_heads=2, num_key_value_heads=1,
    ... )
    >>> model = sl.hf.patch(transformers.LlamaForCausalLM(config))
    >>> ids = torch.arange(10)[None]
    >>> with sl.distributed.hf_parallel(model, {"input_ids": ids, "labels": ids}) as share:
    ...     loss = model(**share).loss
    ...     loss.backward()
    >>> bool((loss - model(ids, labels=ids).loss).abs() < 1e-5)
    True
    >>> dist.destroy_process_group()
    """
    inner = getattr(model, "module", model)
    _check_model(inner)
    rule = find_share_rule(inner)
    ranks = Ranks.of(group)
    whole = _whole_batch(inner, rule, batch)
    _agree(ranks, whole)
    ids = _document_ids(batch, whole) if rule.packed else None
    dealt = _dealt(inner, _heaviest(inner, rule, whole, ids), whole, ranks, group, options)
    share = _share(rule, whole, dealt)
    with ExitStack() as until_done:
        until_done.enter_context(context_parallel(dealt))
        sequence: Any = shared_sequence()
        rows, length = whole["attention_mask"].shape
        configs = configs_of(inner)
        call = WholeCall(sequence, configs, rows, length, dealt.length, ids, rule.packed)
        until_done.enter_context(calling(call))
        for hook in _guards(inner, share):
            until_done.callback(hook.remove)
        until_done.enter_context(_not_generating(inner))
        if rule.loss == "mean" and "labels" in whole:
            until_done.callback(_weigh_loss(inner, whole["labels"], share, ranks.size).remove)
        yield share


def _check_model(model: Any) -> None:
    if not hasattr(model, "config") or not is_patched(model):
        raise InvalidArgument(
            f"got a {type(model).__name__} that is not patched; wanted a patched transformers "
            "model; call sl.hf.patch(model) first."
        )
    if is_unpadded(model):
        refuse("a model without padding", "its tokens are packed anew", "sl.hf.repad(model)")


# -- the whole batch ---------------------------------------------------------------------------


def _whole_batch(model: Any, rule: ShareRule, batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return the batch with mask and positions, each [batch, length]."""
    given = {name: each for name, each in batch.items() if each is not None}
    tokens = [given[name] for name in ("input_ids", "inputs_embeds") if name in given]
    if len(tokens) != 1 or tokens[0].ndim < 2:
        raise InvalidArgument(
            f"got a batch of {sorted(given)}; wanted either input_ids or inputs_embeds, "
            "[batch, length, ...]."
        )
    rows, length = tokens[0].shape[:2]
    _refuse_arguments(given)
    for name in _REFUSED:
        given.pop(name, None)
    for flag in ("output_attentions", "output_router_logits"):
        if getattr(model.config, flag, False):
            refuse(f"config.{flag}", _REFUSED[flag], f"model.config.{flag} = False")
    device = tokens[0].device
    given.setdefault("attention_mask", torch.ones(rows, length, dtype=torch.long, device=device))
    if "position_ids" not in given:
        given["position_ids"] = _own_positions(rule, given, device)
    if given["position_ids"].shape == (1, length):
        given["position_ids"] = given["position_ids"].expand(rows, -1)
    _check_rows(given, rows, length)
    if "labels" in given and rule.loss is None:
        refuse(
            f"labels for {type(model).__name__}",
            "its loss from a share of the tokens is not a share of its loss",
            "the loss from output.logits, by a formula of your own",
        )
    return given


def _refuse_arguments(given: Mapping[str, Any]) -> None:
    for name, reason in _REFUSED.items():
        wanted = given.get(name)
        if wanted is None or (isinstance(wanted, int) and not wanted):  # False, 0
            continue
        refuse(f"{name}=", reason, "the same call in one process")


def _own_positions(rule: ShareRule, given: Mapping[str, Any], device: Any) -> Any:
    ids = given.get("input_ids")
    if ids is None:  # a model that looks at ids counts embeddings in its own way
        ids = torch.full(given["attention_mask"].shape, -1, device=device)
    return rule.positions(ids, given["attention_mask"] != 0)


def _check_rows(given: Mapping[str, Any], rows: int, length: int) -> None:
    for name, each in given.items():
        if not isinstance(each, torch.Tensor) or name == "num_items_in_batch":
            continue
        if each.shape[:2] != (rows, length):
            raise ShapeMismatch(
                f"got {name} of shape {list(each.shape)}; wanted [{rows}, {length}, ...], a row "
                "for each token; a share of the tokens can be given nothing else."
            )
        if name in ("attention_mask", "position_ids", "labels") and each.ndim != 2:
            raise ShapeMismatch(
                f"got {name} of shape {list(each.shape)}; wanted [{rows}, {length}]; say other "
                "masks by sl.hf.patch(model, mask=...)."
            )


def _agree(ranks: Ranks, whole: Mapping[str, Any]) -> None:
    """Compare the batches of all ranks."""
    facts: dict[str, Any] = {"arguments": sorted(whole)}
    for name, each in whole.items():
        if isinstance(each, torch.Tensor):
            facts[name] = (*each.shape, str(each.dtype), _sum_of(each))
    agree(ranks, "sl.distributed.hf_parallel", facts)


def _sum_of(tensor: torch.Tensor) -> str:
    """Return a text that tells tokens apart; embeddings are many, and not looked at."""
    if tensor.is_floating_point():
        return "floats"
    bits = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    return f"checksum {zlib.crc32(bits.numpy().data):08x}"


# -- who holds what ----------------------------------------------------------------------------


def _document_ids(batch: Mapping[str, Any], whole: Mapping[str, Any]) -> torch.Tensor | None:
    """Return the documents that transformers finds: none beside an ``attention_mask``."""
    from transformers.masking_utils import find_packed_sequence_indices

    if batch.get("attention_mask") is not None:
        return None
    return find_packed_sequence_indices(whole["position_ids"])


_dealt_last: WeakKeyDictionary[Any, tuple[Any, Spread]] = WeakKeyDictionary()


def _dealt(
    model: Any,
    mask: Mask,
    whole: Mapping[str, Any],
    ranks: Ranks,
    group: Any,
    options: dict[str, Any],
) -> Spread:
    """Return who holds which tokens; kept from one batch to the next where that is the same."""
    length = whole["attention_mask"].shape[1]
    key = mask, length, ranks.group, tuple(sorted(options.items()))
    found = _dealt_last.get(model)
    if found is None or found[0] != key:
        found = _dealt_last[model] = key, spread(mask, length, group=group, **options)
    return found[1]


def _heaviest(
    model: Any, rule: ShareRule, whole: Mapping[str, Any], ids: torch.Tensor | None
) -> Mask:
    """Return the mask that most of the work is under, of those of all layers."""
    rows, length = whole["attention_mask"].shape
    frame, extra = Frame(rows, length, length, 0, 0), setting_of(model.config).mask
    masks: list[tuple[Mask, int]] = []
    for structure, modules in rule.structures:
        inside = structure
        if ids is not None and structure in rule.packed:
            inside = structure & documents(ids=ids.detach().cpu().numpy())
        mask, _ = whole_mask(inside, whole["attention_mask"], extra, frame)
        masks.append((mask, modules))
    if len(masks) == 1:
        return masks[0][0]
    return max(masks, key=lambda each: each[1] * int(each[0].count(length)))[0]


def _share(rule: ShareRule, whole: Mapping[str, Any], dealt: Spread) -> HFShare:
    """Return this rank's arguments: what has a row for each token is cut, but for the mask."""
    given = dict(whole)
    if "labels" in given and rule.loss != "mean":
        targets = share_labels(rule.loss, given["labels"])
        count = given.get("num_items_in_batch", (targets != -100).sum())
        given["num_items_in_batch"] = count / dealt.ranks.size
        if rule.loss == "shifted":
            given["shift_labels"] = targets
    kept = "attention_mask", "num_items_in_batch"
    cut = {
        name: shard_batch(each, dealt)
        if isinstance(each, torch.Tensor) and name not in kept
        else each
        for name, each in given.items()
    }
    return HFShare(cut, dealt)


# -- while it runs -------------------------------------------------------------------------------


def _guards(model: Any, share: HFShare) -> list[Any]:
    """Refuse calls inside the block that would count from the tokens at hand."""
    from transformers import PreTrainedModel

    def guard(module: Any, args: Any, kwargs: Any) -> Any:
        given = named(module, args, kwargs)
        positions = given.get("position_ids")
        if positions is None or positions.shape[-1] != share["position_ids"].shape[-1]:
            refuse(
                f"{type(module).__name__} called without its share's position_ids",
                "it would count the tokens at hand",
                "model(**share) with what hf_parallel gave",
            )
        _refuse_arguments({n: each for n, each in given.items() if n != "shift_labels"})
        if "use_cache" in inspect.signature(module.forward).parameters:
            return args, {**kwargs, "use_cache": False}
        return None

    return [
        module.register_forward_pre_hook(guard, with_kwargs=True)
        for module in model.modules()
        if isinstance(module, PreTrainedModel) and takes(module, "position_ids")
    ]


@contextmanager
def _not_generating(model: Any) -> Iterator[None]:
    def generate(*_: Any, **__: Any) -> Any:
        refuse("generate()", "a next token has no rank that would hold it", "it after the block")

    before = model.__dict__.get("generate")
    model.__dict__["generate"] = generate
    try:
        yield
    finally:
        model.__dict__.pop("generate")
        if before is not None:
            model.__dict__["generate"] = before


def _weigh_loss(model: Any, labels: torch.Tensor, share: HFShare, ranks: int) -> Any:
    """Turn the mean over the labels at hand into this rank's part of the loss."""
    here, count = (int((each != -100).sum()) for each in (share["labels"], labels))
    factor = here * ranks / max(count, 1)

    def weigh(_: Any, args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            loss, *others = output
            return (loss * factor if here else others[0].sum() * 0, *others)
        loss = output["loss"] * factor if here else output["logits"].sum() * 0
        return type(output)(**{**output, "loss": loss})

    return model.register_forward_hook(weigh)
