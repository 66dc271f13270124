"""Losses of a shared sequence: means over all tokens of all ranks, not of each rank's own.

Each rank's loss is its own tokens' sum, over the count of all ranks' ÷ how many ranks there are.
So the mean over the ranks is the loss of the whole, and the mean of the gradients, which DDP and
FSDP take, is its gradient.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.nn import functional

from sightline.distributed.batch import shard_batch
from sightline.distributed.collectives import all_sum
from sightline.distributed.failures import telling
from sightline.distributed.layout import Spread
from sightline.engines.guarded.arithmetic import working_dtype
from sightline.engines.shared import sharing
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.mask import Mask
from sightline.nn.valid import check_features, clear, read_valid

__all__ = ["average_gradients", "cross_entropy", "mean_loss", "mean_over_ranks"]


def mean_loss(losses: torch.Tensor, valid: Any, spread: Spread) -> torch.Tensor:
    """Return this rank's part of the mean loss over the real positions of the whole sequence.

    The mean over the ranks of what each returns is the mean over all real positions, and so are
    its gradients once averaged over the ranks. A batch without a real position has the loss 0,
    with gradients of 0.

    Args:
        losses: floats [batch, share, ...], those of this rank's tokens.
        valid: True for a real position [batch, share], or a padding mask of the whole sequence;
            None where all are real.
        spread: who holds which tokens.

    Returns:
        A single number, in float32 for the half dtypes.

    Raises:
        ShapeMismatch: losses that are not this rank's share, or sizes that do not fit.
        InvalidArgument: ``losses`` not floating, ``valid`` not bools.
        RanksDisagree: ranks do different things.
        RankLost: a rank does not answer.

    >>> import sightline as sl, torch, torch.distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> lone = sl.distributed.spread(sl.causal(), 3)
    >>> losses = torch.tensor([[1.0, 2.0, torch.nan]])
    >>> sl.distributed.mean_loss(losses, sl.padding(lengths=[2]), lone)
    tensor(1.5000)
    >>> dist.destroy_process_group()
    """
    with telling(spread.ranks):
        losses = check_features(losses, "losses")
        _check_share(losses, "losses", spread)
        if valid is None:
            real = losses.new_ones(losses.shape[:2], dtype=torch.bool)
        elif isinstance(valid, Mask):
            with sharing(None):
                whole = read_valid(valid, len(losses), spread.queries.length, losses.device)
            real = shard_batch(whole, spread)
        else:
            real = read_valid(valid, losses.shape[0], losses.shape[1], losses.device)
        each = losses[:1, :1].numel()
        total = clear(losses, real).sum(dtype=working_dtype(losses.dtype))
        (count,) = _summed(real.sum()[None] * each, spread, "sl.distributed.mean_loss")
        return total * (spread.ranks.size / max(count, 1))


def cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor,
    spread: Spread,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return this rank's part of the mean cross entropy over the labels of the whole sequence.

    What ``torch.nn.functional.cross_entropy`` is for a whole sequence, as ``mean_loss`` is a mean.
    Logits where there is no label may be anything, NaN and Inf included.

    Args:
        logits: floats [batch, share, classes].
        labels: integers [batch, share], shifted before they were cut (``next_token_labels``).
        spread: who holds which tokens.
        ignore_index: the label of positions that do not count.
        label_smoothing: how much of each label is spread over all classes; 0 to 1.

    Returns:
        A single number in nats, in float32 for the half dtypes.

    Raises:
        ShapeMismatch: tensors that are not this rank's share, or sizes that do not fit.
        InvalidArgument: logits that are not floating, or labels that are no class.
        RanksDisagree: ranks do different things.
        RankLost: a rank does not answer.

    >>> import sightline as sl, torch, torch.distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> lone = sl.distributed.spread(sl.causal(), 2)
    >>> logits, labels = torch.zeros(1, 2, 4), torch.tensor([[3, -100]])
    >>> sl.distributed.cross_entropy(logits, labels, lone)
    tensor(1.3863)
    >>> dist.destroy_process_group()
    """
    with telling(spread.ranks):
        logits = _check_labelled(logits, labels, spread)
        real = labels != ignore_index
        tokens, classes = logits[real], labels[real].long()
        wrong = (classes < 0) | (classes >= logits.shape[2])
        count, bad = _summed(
            torch.stack([real.sum(), wrong.sum()]), spread, "sl.distributed.cross_entropy"
        )
        if bad:  # on all ranks alike: none is left waiting for another
            shown = int(classes[wrong][0]) if bool(wrong.any()) else "another rank's"
            raise InvalidArgument(
                f"got {shown} as a label; wanted 0 to {logits.shape[2] - 1}, or {ignore_index} "
                "(ignore_index) where a position does not count."
            )
        weight = spread.ranks.size / max(count, 1)
        tokens = tokens.to(working_dtype(tokens.dtype))
        if not len(tokens):
            return tokens.sum() * weight
        total = functional.cross_entropy(
            tokens, classes, reduction="sum", label_smoothing=label_smoothing
        )
        return total * weight


def mean_over_ranks(number: torch.Tensor, spread: Spread) -> torch.Tensor:
    """Return the mean over the ranks, without gradient: the whole loss, to be shown or logged.

    Raises:
        RanksDisagree: ranks do different things.
        RankLost: a rank does not answer.

    >>> import sightline as sl, torch, torch.distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> lone = sl.distributed.spread(sl.causal(), 3)
    >>> sl.distributed.mean_over_ranks(torch.tensor(2.0), lone)
    tensor(2.)
    >>> dist.destroy_process_group()
    """
    own = number.detach().clone()
    return all_sum(own, spread.ranks, "sl.distributed.mean_over_ranks") / spread.ranks.size


def average_gradients(parameters: Iterable[torch.Tensor], spread: Spread) -> None:
    """Replace the gradients of parameters by their means over the ranks, as DDP and FSDP do.

    For training without either: call it after ``backward()``, with the same parameters in the
    same order on every rank. A gradient that is None counts as 0.

    Raises:
        RanksDisagree: ranks do different things.
        RankLost: a rank does not answer.

    >>> import sightline as sl, torch, torch.distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> lone = sl.distributed.spread(sl.causal(), 3)
    >>> layer = torch.nn.Linear(2, 1)
    >>> sl.distributed.average_gradients(layer.parameters(), lone)
    >>> layer.weight.grad
    tensor([[0., 0.]])
    >>> dist.destroy_process_group()
    """
    trained = [each for each in parameters if each.requires_grad]
    kinds = list(dict.fromkeys((each.dtype, each.device) for each in trained))
    for kind in kinds:
        alike = [each for each in trained if (each.dtype, each.device) == kind]
        for each in alike:
            each.grad = torch.zeros_like(each) if each.grad is None else each.grad
        flat = torch.cat([each.grad.reshape(-1) for each in alike if each.grad is not None])
        all_sum(flat, spread.ranks, "sl.distributed.average_gradients")
        flat /= spread.ranks.size
        parts = flat.split([each.numel() for each in alike])
        for each, part in zip(alike, parts, strict=True):
            each.grad = part.view_as(each)


def _check_share(tensor: torch.Tensor, name: str, spread: Spread) -> None:
    if tensor.shape[1] != spread.length:
        raise ShapeMismatch(
            f"got {name} of shape {list(tensor.shape)} on rank {spread.ranks.rank}; wanted "
            f"[batch, {spread.length}, ...], its share; cut the batch with "
            "sl.distributed.shard_batch."
        )


def _check_labelled(logits: Any, labels: torch.Tensor, spread: Spread) -> torch.Tensor:
    logits = check_features(logits, "logits", least=3)
    _check_share(logits, "logits", spread)
    if logits.ndim != 3 or labels.shape != logits.shape[:2]:
        raise ShapeMismatch(
            f"got logits of shape {list(logits.shape)} and labels of shape {list(labels.shape)}; "
            "wanted [batch, share, classes] and [batch, share]."
        )
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise InvalidArgument(
            f"got labels of dtype {labels.dtype}; wanted integers; convert with .long()."
        )
    return logits


def _summed(counts: torch.Tensor, spread: Spread, what: str) -> list[int]:
    """Return the sums of counts over the ranks; ``what`` is being done, for errors."""
    return all_sum(counts.to(torch.int64, copy=True), spread.ranks, what).tolist()
