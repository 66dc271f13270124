"""Learning to guess the next character: windows of a text, a GPT, AdamW along a cosine.

The model is models/gpt.py, the text readers/plain_text.py's; what came out is outcome.py's.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from sightline.errors import DataError, InvalidArgument
from sightline.models.gpt import GPT
from sightline.readers.plain_text import Characters, read_plain_text
from sightline.recipes.decay import matrices_decay
from sightline.recipes.language_model.outcome import what_came_out
from sightline.recipes.language_model.settings import (
    FILE,
    VOCABULARY,
    LanguageModelSettings,
    gpt_config,
)
from sightline.recipes.training.outcome import Outcome
from sightline.recipes.training.recipe import Task, Tell
from sightline.recipes.training.seeds import generator, seed_for
from sightline.views.files import write_atomically

__all__ = ["LanguageModelTask", "build"]

_EVALUATED_AT_ONCE = 64  # windows


class LanguageModelTask(Task):
    """The next character, from those before it.

    Args:
        settings: sizes and rates.
        text: all of it; the first nine tenths are learned from, the rest is held out.
        seed: of the first weights and of the order of windows.
        path: where the text comes from, for errors.

    Raises:
        DataError: a text too short for one window in each part.
    """

    metric, better = "loss", "lower"

    def __init__(
        self, settings: LanguageModelSettings, text: str, seed: int, path: str = "the text"
    ) -> None:
        self.settings, self.seed = settings, seed
        self.characters = Characters.of(text)
        numbers = self.characters.numbers(text)
        cut = 9 * len(numbers) // 10
        self.learned, self.held_out = numbers[:cut], numbers[cut:]
        least = settings.context + 1
        if min(len(self.learned), len(self.held_out)) < least:
            raise DataError(
                f"got a text of {len(text)} characters; wanted at least {10 * least - 9}, so that "
                f"the held-out tenth has a window of context={settings.context} and the character "
                "after it; give a longer text or a smaller --set context.",
                path=path,
            )
        torch.manual_seed(seed_for(seed, "weights"))
        self.model = GPT(gpt_config(settings, len(self.characters)))

    def optimizer(self) -> torch.optim.Optimizer:
        """Return AdamW that lets matrices decay, and nothing else."""
        settings = self.settings
        groups = matrices_decay(self.model, settings.decay)
        betas = (settings.beta_1, settings.beta_2)
        return torch.optim.AdamW(groups, lr=settings.rate, betas=betas, fused=True)

    def rate(self, step: int) -> float:
        """Return the rate: up in a line, down along half a cosine."""
        settings = self.settings
        if step < settings.warm_up:
            return settings.rate * step / settings.warm_up
        share = (step - settings.warm_up) / max(1, settings.steps - settings.warm_up)
        over = settings.rate - settings.least_rate
        return settings.least_rate + over * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))

    def batch(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return windows [batch, context] from anywhere in the text, and what follows each."""
        return self.windows(self.learned, "windows", number)

    def loss(self, model: Any, batch: Any) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the cross-entropy of the next character, in nats."""
        tokens, following = batch
        return cross_entropy(model(tokens).flatten(0, 1), following.flatten()), {}

    def evaluate(self, model: Any, tell: Tell) -> dict[str, float]:
        """Return the loss over all held-out characters, in windows side by side.

        Every character but the first counts once.
        """
        context = self.settings.context
        text = torch.from_numpy(self.held_out).to(self.device(model))
        whole = (len(text) - 1) // context * context
        windows = (text[:whole].view(-1, context), text[1 : whole + 1].view(-1, context))
        parts = list(zip(*(each.split(_EVALUATED_AT_ONCE) for each in windows), strict=True))
        if whole < len(text) - 1:  # the end of the text fills no window
            parts.append((text[whole:-1][None], text[whole + 1 :][None]))
        total = 0.0
        for done, (tokens, following) in enumerate(parts, 1):
            logits = model(tokens).flatten(0, 1)
            total += float(cross_entropy(logits, following.flatten(), reduction="sum"))
            tell("held-out text", done, len(parts))
        return {"loss": total / (len(text) - 1)}

    def finish(self, model: Any, tell: Tell) -> Outcome:
        """Return the losses beside the published one, samples, and who looks at whom."""
        return what_came_out(self, model, tell)

    def save(self, folder: Path) -> None:
        """Write the characters."""
        write_atomically(folder / VOCABULARY, self.characters.as_json())

    def windows(
        self, text: np.ndarray, purpose: str, number: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return random windows [batch, context] of a part of the text, and what follows each."""
        context = self.settings.context
        starts = generator(self.seed, purpose, number).integers(
            len(text) - context, size=self.settings.batch
        )
        cut_out = torch.from_numpy(text[starts[:, None] + np.arange(context + 1)])
        return cut_out[:, :-1], cut_out[:, 1:]

    @staticmethod
    def device(model: torch.nn.Module) -> torch.device:
        """Return where a model is."""
        return next(model.parameters()).device


def build(settings: LanguageModelSettings, data: Path | None, seed: int) -> LanguageModelTask:
    """Return the task of learning the text in a folder.

    Raises:
        DataError: no such text, or one that is too short or no text.
    """
    if data is None:
        raise InvalidArgument(f"got no folder; wanted one with {FILE}; name it with --data.")
    text = read_plain_text(data, FILE)
    return LanguageModelTask(settings, text, seed, str(Path(data) / FILE))
