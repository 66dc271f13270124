"""A language model of characters, with nanoGPT's published settings: tiny-shakespeare.

The model is models/gpt.py; text is read by readers/plain_text.py and continued by
text_writer.py; the picture of "I have a dream <eos>" is growing_triangle.py's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from sightline.errors import DataError, InvalidArgument
from sightline.models.gpt import GPT, GPTConfig
from sightline.readers.plain_text import Characters, read_characters, read_plain_text
from sightline.recipes.growing_triangle import GrowingTriangle
from sightline.recipes.text_writer import Writer, write_uncached
from sightline.recipes.training.checkpoint import load_weights
from sightline.recipes.training.outcome import AttentionMap, Figure, Outcome, Table
from sightline.recipes.training.recipe import Recipe, Settings, Task, Tell
from sightline.recipes.training.run_folder import read_run
from sightline.recipes.training.seeds import generator, seed_for
from sightline.views.files import write_atomically

__all__ = ["RECIPE", "LanguageModelSettings", "LanguageModelTask", "open_writer"]

FILE, VOCABULARY = "input.txt", "vocabulary.json"
_ESTIMATES = 20  # random batches of the published estimate on a CPU


@dataclass(frozen=True, kw_only=True)
class LanguageModelSettings(Settings):
    """nanoGPT's settings for a CPU, unless others are given.

    Attributes:
        layers: blocks.
        heads: attention heads of a block.
        width: features of a character.
        context: characters that the model sees at most, and the length of a window.
        batch: windows in a batch.
        dropout: its rate, in training.
        positions: "learned" or "rotary".
        rate: the greatest learning rate.
        least_rate: the one at the end.
        warm_up: steps until the greatest; a cosine leads from there to the end.
        beta_1: AdamW's memory of gradients.
        beta_2: AdamW's memory of their squares.
        decay: of weights in matrices; not of norms and shifts.
        sample: how many characters the samples in the report have.

    Source: karpathy/nanoGPT, config/train_shakespeare_char.py and README ("quick start").
    """

    steps: int = 2000
    evaluate_every: int = 250
    checkpoint_every: int = 250
    layers: int = 4
    heads: int = 4
    width: int = 128
    context: int = 64
    batch: int = 12
    dropout: float = 0.0
    positions: str = "learned"
    rate: float = 1e-3
    least_rate: float = 1e-4
    warm_up: int = 100
    beta_1: float = 0.9
    beta_2: float = 0.99
    decay: float = 0.1
    sample: int = 400

    def __post_init__(self) -> None:
        for name in ("batch", "sample"):
            if getattr(self, name) < 1:
                raise InvalidArgument(f"got {name}={getattr(self, name)}; wanted at least 1.")


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
                f"got a text of {len(text)} characters; wanted at least {10 * least - 9}, "
                f"so that the held-out tenth has a window of context={settings.context} and the "
                "character after it; give a longer text or a smaller --set context.",
                path=path,
            )
        torch.manual_seed(seed_for(seed, "weights"))
        self.model = GPT(_config(settings, len(self.characters)))

    def optimizer(self) -> torch.optim.Optimizer:
        """Return AdamW that lets matrices decay, and nothing else."""
        settings = self.settings
        weights = list(self.model.parameters())
        groups = [
            {"params": [w for w in weights if w.ndim >= 2], "weight_decay": settings.decay},
            {"params": [w for w in weights if w.ndim < 2], "weight_decay": 0.0},
        ]
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
        return self._windows(self.learned, "windows", number)

    def loss(self, model: Any, batch: Any) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the cross-entropy of the next character, in nats."""
        tokens, following = batch
        return cross_entropy(model(tokens).flatten(0, 1), following.flatten()), {}

    def evaluate(self, model: Any, tell: Tell) -> dict[str, float]:
        """Return the loss over all held-out characters, in windows side by side."""
        return {"loss": self._held_out_loss(model, tell)}

    def finish(self, model: Any, tell: Tell) -> Outcome:
        """Return the losses beside the published one, samples, and who looks at whom."""
        triangle = GrowingTriangle(self.seed, engine=self.settings.engine)
        writer = Writer(model, self.characters)
        figures = self._losses(model, tell)
        maps, most_later = self._attention(model)
        figures += [
            Figure(
                "greatest weight on a later character",
                most_later,
                target=0.0,
                better="lower",
                note="an exact zero: the mask is causal()",
            ),
            Figure(
                "characters that differ without the cache",
                self._apart(model),
                target=0.0,
                better="lower",
                note="greedy, over twice the context",
            ),
            *triangle.figures(),
        ]
        return Outcome(
            figures=tuple(figures),
            tables=(self._samples(writer, tell), triangle.table()),
            masks=(triangle.mask(),),
            attention=(*maps, triangle.attention()),
            notes=_NOTES,
        )

    def save(self, folder: Path) -> None:
        """Write the characters."""
        write_atomically(folder / VOCABULARY, self.characters.as_json())

    def _windows(
        self, text: np.ndarray, purpose: str, number: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        context = self.settings.context
        starts = generator(self.seed, purpose, number).integers(
            len(text) - context, size=self.settings.batch
        )
        windows = torch.from_numpy(text[starts[:, None] + np.arange(context + 1)])
        return windows[:, :-1], windows[:, 1:]

    def _held_out_loss(self, model: Any, tell: Tell) -> float:
        """Return the mean over every character but the first, each seen once."""
        context = self.settings.context
        text = torch.from_numpy(self.held_out).to(_device(model))
        whole = (len(text) - 1) // context * context
        inputs, following = text[:whole].view(-1, context), text[1 : whole + 1].view(-1, context)
        parts = list(zip(inputs.split(64), following.split(64), strict=True))
        if whole < len(text) - 1:  # the end of the text fills no window
            parts.append((text[whole:-1][None], text[whole + 1 :][None]))
        total = 0.0
        for done, (tokens, after) in enumerate(parts, 1):
            logits = model(tokens).flatten(0, 1)
            total += float(cross_entropy(logits, after.flatten(), reduction="sum"))
            tell("held-out text", done, len(parts))
        return total / (len(text) - 1)

    def _losses(self, model: Any, tell: Tell) -> list[Figure]:
        published = self._published()
        found = []
        for number in range(_ESTIMATES):
            windows = self._windows(self.held_out, "estimate", number)
            tokens, following = (each.to(_device(model)) for each in windows)
            found.append(float(cross_entropy(model(tokens).flatten(0, 1), following.flatten())))
        error = float(np.std(found, ddof=1) / math.sqrt(_ESTIMATES))
        return [
            Figure(
                "validation loss (nats a character)",
                self._held_out_loss(model, tell),
                better="lower",
                note="every held-out character once, windows side by side",
                **published,
            ),
            Figure(
                "validation loss, estimated as nanoGPT does",
                float(np.mean(found)),
                better="lower",
                note=f"{_ESTIMATES} random batches of {self.settings.batch} windows; "
                f"standard error {error:.3f}",
                **published,
            ),
            Figure(
                "loss of the characters' frequencies alone",
                _unigram_loss(self.learned, self.held_out, len(self.characters)),
                better="lower",
                note="a baseline that sees nothing",
            ),
        ]

    def _published(self) -> dict[str, Any]:
        """Return the published number for these sizes, if there is one for this much text."""
        sizes = ("steps", "layers", "heads", "width", "context", "batch", "dropout", "positions")
        for preset, target, value, machine in _PUBLISHED:
            wanted = RECIPE.presets[preset]
            if all(getattr(wanted, name) == getattr(self.settings, name) for name in sizes):
                source = f"nanoGPT's README, {machine}; the same number of characters"
                return {"target": target, "published": value, "source": source}
        return {}

    def _attention(self, model: Any) -> tuple[list[AttentionMap], float]:
        """Return maps of the first and the last block, and the greatest weight on the future."""
        numbers = self.held_out[: min(24, self.settings.context)]
        labels = tuple(self.characters.text(numbers))
        tokens = torch.from_numpy(numbers)[None].to(_device(model))
        weights = [each[0].float().cpu() for each in model.attention_weights(tokens)]
        later = max(float(each.triu(1).abs().max()) for each in weights)
        maps = [
            AttentionMap(
                f"block {place + 1} of {len(weights)}, mean of the heads",
                weights[place].mean(0).numpy(),
                labels,
                labels,
            )
            for place in sorted({0, len(weights) - 1})
        ]
        return maps, later

    def _apart(self, model: Any) -> float:
        """Return how many characters differ between writing with the cache and without."""
        prompt = self.characters.text(self.held_out[: min(8, self.settings.context)])
        count = 2 * self.settings.context
        cached = Writer(model, self.characters).write(prompt, tokens=count, temperature=0.0)
        plain = write_uncached(model, self.characters, prompt, tokens=count)
        return float(sum(one != other for one, other in zip(cached, plain, strict=True)))

    def _samples(self, writer: Writer, tell: Tell) -> Table:
        prompts = (writer.start, self.characters.text(self.held_out[:20]))
        rows = []
        for number, prompt in enumerate(prompts):
            tell("samples", number, len(prompts))
            text = writer.write(
                prompt, tokens=self.settings.sample, temperature=0.8, top_k=200, seed=self.seed
            )
            rows.append((prompt, text))
        tell("samples", len(prompts), len(prompts))
        return Table("Samples (temperature 0.8, top 200)", ("prompt", "continued"), tuple(rows))


def open_writer(folder: Path) -> Writer:
    """Return the best model of a run of this recipe, ready to write.

    Raises:
        DataError: no such run there, or one that is damaged or has not been evaluated yet.
    """
    run = read_run(folder, RECIPE)
    characters = read_characters(run.folder / VOCABULARY)
    model = GPT(_config(run.settings, len(characters)))  # pyright: ignore[reportArgumentType]
    load_weights(run.best, model)
    return Writer(model.eval(), characters)


# preset, the target, the published loss, and where it was reached
_PUBLISHED = (
    ("small", 1.9, 1.88, "settings for a CPU, 2,000 iterations"),
    ("paper", None, 1.4697, "settings for a GPU, 5,000 iterations"),
)
_NOTES = (
    "Held out is the last tenth of the text, as published. The published losses are means over "
    "random windows; here every held-out character counts once, which has the same expectation.",
    "Linear layers and norms have shifts, as in GPT-2; nanoGPT leaves them out.",
)


def _config(settings: LanguageModelSettings, vocab: int) -> GPTConfig:
    return GPTConfig(
        vocab=vocab,
        layers=settings.layers,
        heads=settings.heads,
        width=settings.width,
        context=settings.context,
        positions=settings.positions,  # pyright: ignore[reportArgumentType]  (checked there)
        dropout=settings.dropout,
        engine=settings.engine,
    )


def _device(model: torch.nn.Module) -> torch.device:
    return next(model.parameters()).device


def _unigram_loss(learned: np.ndarray, held_out: np.ndarray, vocab: int) -> float:
    """Return the held-out text's mean -log of each character's share (one added to each count)."""
    counts = np.bincount(learned, minlength=vocab) + 1
    return float(-np.log(counts / counts.sum())[held_out[1:]].mean())


def _build(settings: LanguageModelSettings, data: Path | None, seed: int) -> LanguageModelTask:
    if data is None:
        raise InvalidArgument(f"got no folder; wanted one with {FILE}; name it with --data.")
    text = read_plain_text(data, FILE)
    return LanguageModelTask(settings, text, seed, str(Path(data) / FILE))


def _sample(folder: Path) -> None:
    """Write a few verses of our own."""
    verses = Path(__file__).with_name("language_model_sample.txt").read_text(encoding="utf-8")
    write_atomically(folder / FILE, verses)


RECIPE = Recipe(
    name="language-model",
    title="a GPT of characters: tiny-shakespeare with nanoGPT's settings",
    corpus="shakespeare",
    presets={
        "small": LanguageModelSettings(),
        "paper": LanguageModelSettings(
            steps=5000, layers=6, heads=6, width=384, context=256, batch=64, dropout=0.2
        ),
        "smoke": LanguageModelSettings(
            steps=60,
            evaluate_every=20,
            checkpoint_every=20,
            layers=2,
            heads=2,
            width=32,
            context=24,
            batch=16,
            rate=1e-2,
            least_rate=1e-3,
            warm_up=10,
            sample=60,
        ),
    },
    build=_build,
    sample=_sample,
)
