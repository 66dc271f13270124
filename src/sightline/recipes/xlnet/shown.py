"""What XLNet's report shows: gaps filled in, masks, attention; and the text of the smoke preset.

Figures are recipe.py's matter.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.masks.explicit import dense
from sightline.models.xlnet import XLNet
from sightline.recipes.training.outcome import AttentionMap, MaskShown, Table
from sightline.recipes.training.seeds import generator
from sightline.recipes.xlnet.texts import Texts
from sightline.views.files import write_atomically

__all__ = ["SHORT", "by_turn", "examples", "pictures", "write_sample"]

# The sizes of a text that can be drawn with its tokens.
SHORT = {"length": 25, "reused": 9, "memory": 0, "perm_size": 9}
_EXAMPLES = 6
_GAP = "·"
_QUARTERS = ("first", "second", "third", "last")


def examples(labels: tuple[str, ...], texts: Texts, predicted: NDArray[np.int64]) -> Table:
    """Return texts with gaps at their targets, and with what was predicted there.

    Args:
        labels: what stands for each token.
        texts: a batch.
        predicted: [batch, n] tokens, for ``texts.targets``.
    """
    rows = []
    for row in range(min(_EXAMPLES, len(texts.tokens))):
        columns = texts.targets[row]
        words = [labels[number] for number in texts.tokens[row]]
        gaps, filled = list(words), list(words)
        for column, number in zip(columns, predicted[row], strict=True):
            gaps[column], filled[column] = _GAP, labels[number]
        right = sum(filled[column] == words[column] for column in columns)
        shown = ("".join(each) for each in (gaps, filled, words))
        rows.append((*shown, f"{right} of {len(columns)}"))
    title = "Gaps filled in, each from the given text and the gaps before it in the order"
    return Table(title, ("given", "predicted", "the text", "right"), tuple(rows))


def by_turn(losses: NDArray[np.floating], parts: tuple[int, ...]) -> Table:
    """Return the mean loss early and late in the order, where more of the text is known.

    Args:
        losses: [texts, n] in the order that targets are predicted in.
        parts: how many of the n belong to each part of a text; each part has its own order.
    """
    turns = np.concatenate([np.arange(count) / count for count in parts if count])
    rows = []
    for quarter, word in enumerate(_QUARTERS):
        inside = losses[:, (turns * 4).astype(int) == quarter]
        if inside.size:
            rows.append((f"{word} quarter of its part", f"{inside.mean():.3f}"))
    return Table("Loss by a target's turn in the order", ("turn", "nats a target"), tuple(rows))


def pictures(
    model: XLNet, labels: tuple[str, ...], texts: Texts
) -> tuple[tuple[MaskShown, ...], tuple[AttentionMap, ...]]:
    """Return both streams' masks for one short text, and where its targets look.

    Args:
        model: the trained one.
        labels: what stands for each token.
        texts: a batch of one text without memory.
    """
    columns, tokens = texts.targets[0], texts.tokens[0]
    words = tuple(labels[number] for number in tokens)
    asked = tuple(f"{words[column]} ({turn})" for turn, column in enumerate(columns, 1))
    rows = texts.query_mask.dense(len(tokens))[0, 0, columns]
    query_mask = dense(rows, means="attend")
    masks = (
        MaskShown("content stream: who reads whom", texts.content_mask, words, words),
        MaskShown("query stream: what each target, by its turn, may see", query_mask, asked, words),
    )
    device = model.token_embedding.weight.device
    found = model.attention(
        torch.tensor(texts.tokens, device=device),
        segments=torch.tensor(texts.segments, device=device),
        mask=texts.content_mask,
        targets=torch.tensor(texts.targets, device=device),
        query_mask=texts.query_mask,
    )
    maps = tuple(
        AttentionMap(
            f"query stream, block {place + 1} of {len(found)}, mean of the heads",
            found[place][0].mean(0).float().cpu().numpy(),
            asked,
            words,
            query_mask,
        )
        for place in sorted({0, len(found) - 1})
    )
    return masks, maps


_WHO = ("the baker", "a sailor", "the old gardener", "my sister", "a quiet child", "the miller")
_DOES = ("carries", "paints", "mends", "remembers", "hides", "counts")
_WHAT = ("seven lanterns", "a wooden boat", "the garden gate", "two grey stones", "her blue coat")
_WHERE = ("by the river", "before the rain", "under the bridge", "at the market", "in the evening")


def write_sample(folder: Path) -> None:
    """Write some hundred lines made from a few words of our own."""
    rng = generator(0, "sample")
    lines = [
        " ".join(words[int(rng.integers(len(words)))] for words in (_WHO, _DOES, _WHAT, _WHERE))
        for _ in range(240)
    ]
    write_atomically(folder / "input.txt", ".\n".join(lines) + ".\n")
