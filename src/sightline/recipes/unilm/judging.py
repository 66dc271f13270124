"""How good a UniLM is: its cloze loss under each mask, and how well it would write the target.

All four masks are asked for the same tokens of the same pairs, so that only who sees whom differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from sightline.masks.explicit import dense
from sightline.models.unilm_masks import MODES, SEGMENTS
from sightline.nn.batch import Batch
from sightline.recipes.frequencies import frequency_losses
from sightline.recipes.training.recipe import Tell
from sightline.recipes.training.seeds import generator
from sightline.recipes.unilm.cloze import (
    CLS,
    MASK,
    SEP,
    Pair,
    Sequenced,
    cloze,
    lay_out,
)

if TYPE_CHECKING:
    from sightline.recipes.unilm.task import UniLMTask

__all__ = ["figures", "unigram_loss", "writing_losses"]

# What is masked in held-out text does not change from run to run.
_SEED = 0
_AT_ONCE = 48


def figures(task: UniLMTask, model: Any, tell: Tell) -> dict[str, float]:
    """Return losses in nats a token on held-out pairs, and the share of pairs judged rightly.

    Under "writing" stands the loss of the target's tokens, each told from the source and all
    target tokens before it, as when they are written; under a mode's name its cloze loss; under
    "follows" how often the model knows whether the target is the source's own.
    """
    pairs = task.pairs["val"][: task.settings.held_out]
    parts = [pairs[start : start + _AT_ONCE] for start in range(0, len(pairs), _AT_ONCE)]
    asked = len(parts) * (len(MODES) + 2)
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("writing", *MODES, "follows")}
    done = 0
    for number, part in enumerate(parts):
        masked = _masked(task, part, number)
        jobs = [("writing", lambda part=part: writing_losses(model, part))]
        jobs += [
            (mode, lambda mode=mode, masked=masked: _cloze_losses(model, masked, mode))
            for mode in MODES
        ]
        jobs += [("follows", lambda part=part, number=number: _judged(model, part, number))]
        for name, job in jobs:
            found[name].append(np.asarray(job()))
            done += 1
            tell("evaluating", done, asked)
    return {name: float(np.concatenate(each).mean()) for name, each in found.items()}


def unigram_loss(task: UniLMTask) -> float:
    """Return the loss of telling the same held-out tokens by their frequency in training."""
    learned = np.concatenate([[*pair.source, *pair.target] for pair in task.train])
    pairs = task.pairs["val"][: task.settings.held_out]
    answers = [
        each.answers
        for number, start in enumerate(range(0, len(pairs), _AT_ONCE))
        for each in _masked(task, pairs[start : start + _AT_ONCE], number)
    ]
    return float(frequency_losses(learned, np.concatenate(answers), task.vocab).mean())


def _masked(task: UniLMTask, pairs: Sequence[Pair], number: int) -> list[Sequenced]:
    rng = generator(_SEED, "held out", number)
    return [
        cloze(lay_out(pair, "bidirectional"), task.pretraining, task.vocab, rng) for pair in pairs
    ]


def _cloze_losses(model: Any, masked: Sequence[Sequenced], mode: Any) -> np.ndarray:
    """Return the loss of each masked token, every sequence read in that mode."""
    from sightline.recipes.unilm.task import assemble

    batch = _on(model, assemble([replace(each, mode=mode) for each in masked]))
    logits = _read(model, batch).mlm
    return functional.cross_entropy(logits, batch["answers"], reduction="none").cpu().numpy()


def _judged(model: Any, pairs: Sequence[Pair], number: int) -> np.ndarray:
    """Return whether each pair is judged rightly; every other one has its neighbour's target."""
    from sightline.recipes.unilm.task import assemble

    made: list[Sequenced] = []
    for place, pair in enumerate(pairs):
        follows = place % 2 == 0
        other = pairs[(place + 2 * number + 1) % len(pairs)]
        shown = pair if follows else Pair(pair.source, other.target)
        made.append(lay_out(shown, "bidirectional", follows=follows))
    batch = _on(model, assemble(made))
    return (_read(model, batch).nsp.argmax(1) == batch["follows"]).cpu().numpy().astype(float)


def _read(model: Any, batch: dict[str, Any]) -> Any:
    names = ("segments", "positions", "mask", "places", "first")
    return model(batch["tokens"], **{name: batch[name] for name in names})


def _on(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    device = _device(model)
    return {name: each.to(device) if hasattr(each, "to") else each for name, each in batch.items()}


def writing_losses(model: Any, pairs: Sequence[Pair]) -> np.ndarray:
    """Return the loss of each target token, [SEP] included, given the source and those before it.

    One pass for all of them: behind source and target stands a [MASK] for each target token, at
    that token's position, which sees the source, the tokens before that position, and itself. It
    says what the [MASK] says that is appended step by step in writing.

    Args:
        model: a UniLM.
        pairs: sources and targets.
    """
    sequences, positions, segments, answers = [], [], [], []
    for pair in pairs:
        target = [*pair.target, SEP]
        source = [CLS, *pair.source, SEP]
        first, many = len(source), len(target)
        sequences.append([*source, *target, *[MASK] * many])
        positions.append([*range(first + many), *range(first, first + many)])
        segments.append([SEGMENTS["seq2seq"][0]] * first + [SEGMENTS["seq2seq"][1]] * 2 * many)
        answers.append(target)
    batch = Batch.from_sequences(sequences)
    seen = np.zeros((len(pairs), 1, batch.length, batch.length), dtype=bool)
    for row, (answer, length) in enumerate(zip(answers, batch.lengths, strict=True)):
        own = _seen_while_writing(length - 2 * len(answer), len(answer))
        seen[row, 0, :length, :length] = own
    logits = model(
        batch.tokens.to(_device(model)),
        segments=_laid(model, batch, segments),
        positions=_laid(model, batch, positions),
        mask=dense(seen, means="attend"),
    ).mlm
    each = zip(batch.split(logits.cpu()), answers, strict=True)
    losses = [
        functional.cross_entropy(row[-len(answer) :], torch.tensor(answer), reduction="none")
        for row, answer in each
    ]
    return torch.cat(losses).numpy()


def _seen_while_writing(source: int, target: int) -> np.ndarray:
    """Return bool [n, n] for a source, a target, and a [MASK] for each target token.

    >>> _seen_while_writing(1, 2).astype(int)
    array([[1, 0, 0, 0, 0],
           [1, 1, 0, 0, 0],
           [1, 1, 1, 0, 0],
           [1, 0, 0, 1, 0],
           [1, 1, 0, 0, 1]])
    """
    both = source + target
    seen = np.zeros((both + target, both + target), dtype=bool)
    seen[:both, :both] = np.tri(both, dtype=bool)
    seen[:, :source] = True
    seen[both:, source:both] = np.tri(target, k=-1, dtype=bool)
    seen[both:, both:] = np.eye(target, dtype=bool)
    return seen


def _laid(model: Any, batch: Batch, rows: Iterable[list[int]]) -> torch.Tensor:
    """Return numbers for each token of each sequence, laid out like the batch."""
    flat = torch.tensor([each for row in rows for each in row])
    return batch.scatter(flat).to(_device(model))


def _device(model: Any) -> torch.device:
    return next(model.parameters()).device
