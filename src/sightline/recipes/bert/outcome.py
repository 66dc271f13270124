"""What a pre-trained BERT shows at the end: what it tells, whom it looks at, what padding gets.

Records only. The figures of a recipe are its own; here is what all of them share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sightline.nn.batch import Batch
from sightline.recipes.bert.batches import call, moved, pack
from sightline.recipes.bert.data import Instance
from sightline.recipes.frequencies import frequency_losses
from sightline.recipes.training.outcome import AttentionMap, Figure, MaskShown, Table
from sightline.recipes.wordpiece import MASK, PAD

if TYPE_CHECKING:
    from sightline.recipes.bert.task import PreTraining

__all__ = ["attention_figures", "examples", "pictures", "unigram_loss"]

# Pictures with more tokens than this cannot be read.
_READABLE = 40
_TOLD = 10
# How much padding is added, so that there is some.
_MORE = 3


def unigram_loss(documents: Any, tokens: np.ndarray, vocab: int) -> float:
    """Return the mean loss of tokens if told by frequency alone, in nats.

    Args:
        documents: sentences of token numbers, which are counted; every token counts once more, so
            that none is impossible.
        tokens: int [n], what is to be told.
        vocab: how many tokens there are.

    >>> round(unigram_loss([[[0, 0, 1]]], np.array([0, 0]), vocab=2), 4)  # log(5 / 3)
    0.5108
    """
    learned = np.concatenate([sentence for document in documents for sentence in document])
    return float(frequency_losses(learned, tokens, vocab).mean())


def examples(task: PreTraining, model: Any, instances: Sequence[Instance]) -> tuple[Table, ...]:
    """Return tables: masked tokens with what the model says of them, and pairs of segments."""
    tokens: list[tuple[str, ...]] = []
    pairs: list[tuple[str, ...]] = []
    for each in instances[:_TOLD]:
        logits = _logits(model, each)
        tokens.append(_token_row(task, each, logits.mlm[0]))
        pairs.append(_pair_row(task, each, float(logits.nsp[0].softmax(-1)[1])))
    return (
        Table("masked tokens", ("text around it", "stood there", "told"), tuple(tokens)),
        Table("next sentences", ("A", "B", "B is", "told to be random"), tuple(pairs)),
    )


def pictures(
    task: PreTraining, model: Any, instances: Sequence[Instance]
) -> tuple[tuple[MaskShown, ...], tuple[AttentionMap, ...]]:
    """Return the mask of a padded pair, and where its tokens look in the first and last block."""
    readable = [each for each in instances if 8 <= len(each) <= _READABLE] or list(instances[:1])
    one = max(readable, key=len)
    batch = Batch.from_sequences([torch.from_numpy(one.tokens)])
    padded = Batch.from_lengths(batch.lengths, length=batch.length + _MORE)
    labels = tuple(task.tokenizer.id_to_token(int(token)) for token in one.tokens)
    shown = (*labels, *[PAD] * _MORE)
    segments = torch.from_numpy(one.segments)[None].to(_device(model))
    weights = model.bert.attention(batch.tokens.to(_device(model)), segments=segments)
    maps = tuple(
        AttentionMap(
            f"block {block + 1} of {len(weights)}, mean of the heads",
            weights[block][0].mean(0).cpu().numpy(),
            labels,
            labels,
        )
        for block in sorted({0, len(weights) - 1})
    )
    mask = MaskShown("[PAD] is seen by nobody", padded.place(model.mask), shown, shown)
    return (mask,), maps


def attention_figures(
    task: PreTraining, model: Any, instances: Sequence[Instance]
) -> tuple[Figure, ...]:
    """Return how much attention [PAD] and [MASK] get in a padded batch, in all heads and blocks."""
    chosen = sorted(instances[:64], key=len)[::8]
    longest = max(len(each) for each in chosen)
    batch = Batch.from_lengths([len(each) for each in chosen], length=longest + _MORE)
    tokens, segments = (
        batch.scatter(torch.from_numpy(np.concatenate(each)))
        for each in ([one.tokens for one in chosen], [one.segments for one in chosen])
    )
    device = _device(model)
    weights = torch.stack(
        model.bert.attention(
            tokens.to(device),
            segments=segments.to(device),
            positions=batch.positions.to(device),
            mask=batch.place(model.mask),
        )
    ).cpu()
    to_keys = weights.permute(1, 4, 2, 0, 3)  # [batch, key, head, block, query]
    is_mask = batch.valid & (tokens == task.tokenizer.token_to_id(MASK))
    on_mask = float(to_keys[is_mask].min()) if is_mask.any() else float("nan")
    on_padding = float(to_keys[~batch.valid].max())
    return (
        Figure("largest attention weight on [PAD]", on_padding, target=0.0, better="lower"),
        Figure("smallest attention weight on [MASK]", on_mask, note="it is attended: not 0"),
    )


def _logits(model: Any, instance: Instance) -> Any:
    return call(model, moved(pack([instance]), _device(model)))


def _token_row(task: PreTraining, instance: Instance, logits: torch.Tensor) -> tuple[str, ...]:
    """Return the text around the first masked place, what stood there, what is told of it."""
    place, name = int(instance.places[0]), task.tokenizer.id_to_token
    around = instance.tokens[max(0, place - 8) : place + 9]
    best = logits.softmax(-1).topk(3)
    told = ", ".join(
        f"{name(int(token))} {float(share):.2f}"
        for share, token in zip(best.values, best.indices, strict=True)
    )
    return " ".join(name(int(token)) for token in around), name(int(instance.masked[0])), told


def _pair_row(task: PreTraining, instance: Instance, random: float) -> tuple[str, ...]:
    second = int(np.argmax(instance.segments))
    parts = instance.original[1 : second - 1], instance.original[second:-1]
    texts = [_short(task.tokenizer.decode(part.tolist())) for part in parts]
    return (*texts, "random" if instance.is_random else "next", f"{random:.2f}")


def _short(text: str, most: int = 90) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def _device(model: Any) -> torch.device:
    return next(model.parameters()).device
