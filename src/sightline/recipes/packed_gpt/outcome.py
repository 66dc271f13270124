"""What a GPT on packed documents brings home: losses, whether documents leak, who holds what.

Records only; report.py draws them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sightline.plan.planner import plan
from sightline.plan.shard import shard
from sightline.recipes.frequencies import frequency_losses
from sightline.recipes.language_model.writer import Writer
from sightline.recipes.packed_gpt.packing import IGNORED, Packed, pack
from sightline.recipes.training.outcome import (
    AttentionMap,
    ChartShown,
    Curve,
    Figure,
    MaskShown,
    Outcome,
    Table,
)
from sightline.recipes.training.recipe import Tell
from sightline.recipes.training.seeds import generator

if TYPE_CHECKING:
    from sightline.recipes.packed_gpt.task import PackedTask

__all__ = ["what_came_out"]

_SHOWN = 60  # characters in an attention map
_TRIED = 16  # documents that are read alone and among others
_PLACES = 24  # in the chart of losses along a document
_RANKS = (2, 4, 8)
_BLOCK = 16  # of the table of shares: the least that sl.distributed.spread cuts in
_NOTES = (
    "A document is a speech of the text with the blank line behind it. It sees itself alone, and "
    "its positions begin at 0; so it makes no difference what it is packed with.",
    "Of a document's first character nothing is asked, and nothing is asked across documents.",
)


def what_came_out(task: PackedTask, model: Any, tell: Tell) -> Outcome:
    """Return the losses, whether documents see each other, samples, and who would hold what."""
    losses = task.held_out_losses(model, tell)
    shown = _few(task)
    maps, forbidden = _attention(task, model, shown)
    return Outcome(
        figures=(*_losses(task, losses), *_promises(task, model, forbidden)),
        tables=(_packing(task), _shares(task), _samples(task, model, tell)),
        masks=(
            MaskShown("several documents in one sequence", shown.mask([0]), *_labels(task, shown)),
        ),
        attention=maps,
        charts=(_along(task, losses),),
        notes=_NOTES,
    )


def _losses(task: PackedTask, losses: torch.Tensor) -> list[Figure]:
    told, labels = np.concatenate(_texts(task.learned)), task.held_out.labels
    asked = labels[labels != IGNORED]
    return [
        Figure(
            "validation loss (nats a character)",
            float(losses.mean()),
            better="lower",
            note="every held-out character that has one before it in its document",
        ),
        Figure(
            "loss of the characters' frequencies alone",
            float(frequency_losses(told, asked, len(task.characters)).mean()),
            better="lower",
            note="a baseline that sees nothing",
        ),
    ]


def _promises(task: PackedTask, model: Any, forbidden: float) -> list[Figure]:
    """Return what the mask promises, measured."""
    changed, apart = _leaks(task, model)
    return [
        Figure(
            "greatest weight on another document or a later character",
            forbidden,
            target=0.0,
            better="lower",
            note="an exact zero: the mask is causal() & documents(...)",
        ),
        Figure(
            "change of a document's logits when all others are rewritten",
            changed,
            target=0.0,
            better="lower",
            note="not a bit, for documents of the held-out sequence that has most",
        ),
        Figure(
            "difference of logits, a document alone and packed",
            apart,
            target=1e-4,
            better="lower",
            note="the order of rounding differs, and nothing else",
        ),
    ]


def _leaks(task: PackedTask, model: Any) -> tuple[float, float]:
    """Return how much a document's logits change with what others say, and without them."""
    lengths = max(task.held_out.lengths, key=len)
    row = task.held_out.lengths.index(lengths)
    batch = task.sequences(task.held_out, [row], task.device(model))
    tokens, packed = batch["tokens"], task.logits(model, batch)
    others = generator(task.seed, "rewritten").integers(len(task.characters), size=tokens.shape)
    rewritten = torch.from_numpy(others).to(tokens.device)
    changed = apart = 0.0
    stop = 0
    for length in lengths[:_TRIED]:
        own = slice(stop, stop + length)
        stop += length
        beside = rewritten.clone()
        beside[:, own] = tokens[:, own]
        again = task.logits(model, {**batch, "tokens": beside})
        alone = model(tokens[:, own])
        changed = max(changed, float((again - packed)[:, own].abs().max()))
        apart = max(apart, float((alone - packed[:, own]).abs().max()))
    return changed, apart


def _attention(
    task: PackedTask, model: Any, shown: Packed
) -> tuple[tuple[AttentionMap, ...], float]:
    """Return maps of the first and the last block, and the greatest weight that is forbidden."""
    batch = task.sequences(shown, [0], task.device(model))
    found = model.attention_weights(
        batch["tokens"], positions=batch["positions"], mask=batch["mask"]
    )
    weights = [each[0].float().cpu().numpy() for each in found]
    allowed = batch["mask"].dense(*[shown.tokens.shape[1]] * 2)[0, 0]
    forbidden = max(float(np.abs(each * ~allowed).max()) for each in weights)
    queries, keys = _labels(task, shown)
    maps = tuple(
        AttentionMap(
            f"block {place + 1} of {len(weights)}, mean of the heads",
            weights[place].mean(0),
            queries,
            keys,
            mask=batch["mask"],
        )
        for place in sorted({0, len(weights) - 1})
    )
    return maps, forbidden


def _few(task: PackedTask) -> Packed:
    """Return the shortest held-out documents, two or more, as many as can be looked at."""
    room = min(_SHOWN, task.settings.context)
    texts = sorted((each[: room // 2] for each in _texts(task.held_out)), key=len)
    stops = np.cumsum([len(each) for each in texts])
    count = max(1, int(np.searchsorted(stops, room, "right")))
    return pack(texts[:count], int(stops[count - 1]))


def _labels(task: PackedTask, shown: Packed) -> tuple[tuple[str, ...], tuple[str, ...]]:
    characters = tuple(task.characters.text(shown.tokens[0].tolist()))
    return characters, characters


def _packing(task: PackedTask) -> Table:
    rows = []
    for name, packed in (("learned from", task.learned), ("held out", task.held_out)):
        longest = max(map(max, packed.lengths))
        facts = (packed.documents, len(packed), longest, packed.asked)
        rows.append((name, *(f"{fact:,}" for fact in facts), f"{packed.filled:.1%}"))
    header = ("part", "documents", "sequences", "longest", "characters asked", "filled")
    return Table("Documents packed into sequences", header, tuple(rows))


def _shares(task: PackedTask) -> Table:
    """Return who holds what of the first batch, if it is shared by 2, 4 and 8 ranks."""
    batch = task.batch(0)
    context = task.settings.context
    planned = plan(batch["mask"], context, block_q=_BLOCK, block_kv=_BLOCK)
    rows = []
    for ranks in (ranks for ranks in _RANKS if ranks <= planned.q_blocks):
        cut = shard(planned, ranks)
        tokens = cut.queries.lengths * task.settings.batch
        facts = zip(tokens, cut.area, cut.received, strict=True)
        for rank, (held, pairs, received) in enumerate(facts):
            share = f"{pairs / max(1.0, cut.area.sum()):.1%}"
            rows.append(
                (str(ranks), str(rank), f"{held:,}", f"{pairs:,.0f}", share, f"{received:,}")
            )
    header = ("ranks", "rank", "characters", "pairs", "share of pairs", "keys received")
    return Table("Who holds what of the first batch", header, tuple(rows))


def _along(task: PackedTask, losses: torch.Tensor) -> ChartShown:
    """Return the mean loss by where in its document a character stands."""
    packed = task.held_out
    place = packed.positions[packed.labels != IGNORED] + 1
    edges = np.unique(np.geomspace(1, place.max() + 1, _PLACES).round().astype(np.int64))
    bins = np.digitize(place, edges) - 1
    count = np.bincount(bins, minlength=len(edges))
    total = np.bincount(bins, weights=losses.numpy(), minlength=len(edges))
    there = count > 0
    x, values = edges[there].astype(np.float64), total[there] / count[there]
    title = "Held-out loss along a document"
    return ChartShown(
        title, (Curve("mean loss", x, values),), "characters before it", "nats", log_x=True
    )


def _samples(task: PackedTask, model: Any, tell: Tell) -> Table:
    """Return documents that the model goes on with, up to their blank line."""
    writer = Writer(model, task.characters)
    prompts = [task.characters.text(each[:12].tolist()) for each in _texts(task.held_out)[:3]]
    rows = []
    for number, prompt in enumerate(prompts):
        tell("samples", number, len(prompts))
        text = writer.write(
            prompt, tokens=task.settings.sample, temperature=0.8, top_k=200, seed=task.seed
        )
        rows.append((prompt, text.partition("\n\n")[0]))
    tell("samples", len(prompts), len(prompts))
    return Table("Samples (temperature 0.8, top 200)", ("prompt", "continued"), tuple(rows))


def _texts(packed: Packed) -> list[np.ndarray]:
    """Return the documents of packed sequences."""
    found = []
    for tokens, lengths in zip(packed.tokens, packed.lengths, strict=True):
        stops = np.cumsum(lengths)
        found += np.split(tokens[: stops[-1]], stops[:-1])
    return found
