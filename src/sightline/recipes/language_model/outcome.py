"""What a trained language model of characters brings home: losses, samples, who looks at whom.

Records only; report.py draws them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from sightline.masks.positional import causal
from sightline.recipes.frequencies import frequency_losses
from sightline.recipes.language_model.growing_triangle import GrowingTriangle
from sightline.recipes.language_model.settings import published
from sightline.recipes.language_model.writer import Writer, write_uncached
from sightline.recipes.training.outcome import AttentionMap, Figure, Outcome, Table
from sightline.recipes.training.recipe import Tell

if TYPE_CHECKING:
    from sightline.recipes.language_model.task import LanguageModelTask

__all__ = ["what_came_out"]

_ESTIMATES = 20  # random batches of the published estimate on a CPU
_SHOWN = 24  # characters in an attention map
_NOTES = (
    "Held out is the last tenth of the text, as published. The published losses are means over "
    "random windows; here every held-out character counts once, which has the same expectation.",
    "Linear layers and norms have shifts, as in GPT-2; nanoGPT leaves them out.",
)


def what_came_out(task: LanguageModelTask, model: Any, tell: Tell) -> Outcome:
    """Return the losses beside the published one, samples, masks and attention."""
    triangle = GrowingTriangle(task.seed, engine=task.settings.engine)
    maps, most_later = _attention(task, model)
    promises = [
        Figure(
            "greatest weight on a later character",
            most_later,
            target=0.0,
            better="lower",
            note="an exact zero: the mask is causal()",
        ),
        Figure(
            "characters that differ without the cache",
            _apart(task, model),
            target=0.0,
            better="lower",
            note="greedy, over twice the context",
        ),
    ]
    return Outcome(
        figures=(*_losses(task, model, tell), *promises, *triangle.figures()),
        tables=(_samples(task, model, tell), triangle.table()),
        masks=(triangle.mask(),),
        attention=(*maps, triangle.attention()),
        notes=_NOTES,
    )


def _losses(task: LanguageModelTask, model: Any, tell: Tell) -> list[Figure]:
    beside = published(task.settings)
    found = []
    for number in range(_ESTIMATES):
        batch = task.windows(task.held_out, "estimate", number)
        tokens, following = (each.to(task.device(model)) for each in batch)
        found.append(float(cross_entropy(model(tokens).flatten(0, 1), following.flatten())))
    error = float(np.std(found, ddof=1) / math.sqrt(_ESTIMATES))
    return [
        Figure(
            "validation loss (nats a character)",
            task.evaluate(model, tell)["loss"],
            better="lower",
            note="every held-out character once, windows side by side",
            **beside,
        ),
        Figure(
            "validation loss, estimated as nanoGPT does",
            float(np.mean(found)),
            better="lower",
            note=f"{_ESTIMATES} random batches of {task.settings.batch} windows; "
            f"standard error {error:.3f}",
            **{**beside, "target": None},
        ),
        Figure(
            "loss of the characters' frequencies alone",
            float(frequency_losses(task.learned, task.held_out[1:], len(task.characters)).mean()),
            better="lower",
            note="a baseline that sees nothing",
        ),
    ]


def _attention(task: LanguageModelTask, model: Any) -> tuple[list[AttentionMap], float]:
    """Return maps of the first and the last block, and the greatest weight on the future."""
    numbers = task.held_out[: min(_SHOWN, task.settings.context)]
    labels = tuple(task.characters.text(numbers))
    tokens = torch.from_numpy(numbers)[None].to(task.device(model))
    weights = [each[0].float().cpu() for each in model.attention_weights(tokens)]
    later = max(float(each.triu(1).abs().max()) for each in weights)
    maps = [
        AttentionMap(
            f"block {place + 1} of {len(weights)}, mean of the heads",
            weights[place].mean(0).numpy(),
            labels,
            labels,
            mask=causal(),
        )
        for place in sorted({0, len(weights) - 1})
    ]
    return maps, later


def _apart(task: LanguageModelTask, model: Any) -> float:
    """Return how many characters differ between writing with the cache and without."""
    prompt = task.characters.text(task.held_out[: min(8, task.settings.context)])
    count = 2 * task.settings.context
    cached = Writer(model, task.characters).write(prompt, tokens=count, temperature=0.0)
    plain = write_uncached(model, task.characters, prompt, tokens=count)
    return float(sum(one != other for one, other in zip(cached, plain, strict=True)))


def _samples(task: LanguageModelTask, model: Any, tell: Tell) -> Table:
    writer = Writer(model, task.characters)
    prompts = (writer.start, task.characters.text(task.held_out[:20]))
    rows = []
    for number, prompt in enumerate(prompts):
        tell("samples", number, len(prompts))
        text = writer.write(
            prompt, tokens=task.settings.sample, temperature=0.8, top_k=200, seed=task.seed
        )
        rows.append((prompt, text))
    tell("samples", len(prompts), len(prompts))
    return Table("Samples (temperature 0.8, top 200)", ("prompt", "continued"), tuple(rows))
