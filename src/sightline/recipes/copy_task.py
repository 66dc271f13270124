"""The copy task: write again what was read; the smallest thing that an encoder-decoder can learn.

It shows that all three attentions work: without one of them, no more than the first symbols come
out right. The model is models/transformer.py's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch

from sightline.errors import InvalidArgument
from sightline.models.seq2seq_masks import seq2seq_masks
from sightline.models.seq2seq_writing import write
from sightline.models.transformer import Transformer, TransformerConfig
from sightline.nn.batch import Batch
from sightline.nn.losses import masked_cross_entropy
from sightline.recipes.rates import check_decay, share_of_peak
from sightline.recipes.training.outcome import Figure, MaskShown, Outcome, Table
from sightline.recipes.training.recipe import Recipe, Settings, Task, Tell
from sightline.recipes.training.seeds import generator

__all__ = ["RECIPE", "CopySettings", "Copying"]

PAD, BEGIN, END, FIRST = range(4)
# Every eighth sequence, told by its own checksum, is never learnt from.
_HELD_OUT = 8


@dataclass(frozen=True, kw_only=True)
class CopySettings(Settings):
    """The settings of the copy task.

    Attributes:
        vocab: tokens, pad, begin and end among them.
        shortest, longest: symbols of a sequence.
        layers, heads, width, hidden, dropout: of the model.
        sequences: in a batch.
        peak, warmup, decay: the rate rises to ``peak`` in ``warmup`` steps, and falls along half
            a "cosine" to 0, or with the "inverse-root" of the step, as published.
        tested: how many held-out sequences are copied in the end.
    """

    vocab: int = 11
    shortest: int = 6
    longest: int = 10
    layers: int = 2
    heads: int = 4
    width: int = 64
    hidden: int = 128
    dropout: float = 0.0
    sequences: int = 64
    peak: float = 3e-3
    warmup: int = 100
    decay: str = "cosine"
    tested: int = 500

    def __post_init__(self) -> None:
        check_decay(self.decay)
        if not 1 <= self.shortest <= self.longest or self.vocab <= FIRST:
            raise InvalidArgument(
                f"got shortest={self.shortest}, longest={self.longest} and vocab={self.vocab}; "
                f"wanted 1 <= shortest <= longest, and a vocab above {FIRST}."
            )


PRESETS = {
    "small": CopySettings(steps=800, evaluate_every=200, checkpoint_every=100),
    "paper": CopySettings(
        steps=400,
        evaluate_every=20,
        checkpoint_every=100,
        clip=0.0,
        shortest=10,
        heads=8,
        width=512,
        hidden=2048,
        dropout=0.1,
        sequences=80,
        peak=0.5 / math.sqrt(512 * 400),
        warmup=400,
        decay="inverse-root",
    ),
    "smoke": CopySettings(
        steps=260,
        evaluate_every=130,
        checkpoint_every=50,
        shortest=3,
        longest=4,
        layers=1,
        heads=2,
        width=48,
        hidden=96,
        sequences=32,
        peak=6e-3,
        warmup=40,
        tested=60,
    ),
}


class Copying(Task):
    """Learn to copy."""

    metric, better = "loss", "lower"

    def __init__(self, settings: CopySettings, data: Path | None, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.held_out = self._draw("held out", 0, settings.tested, held_out=True)
        self.model = Transformer(
            TransformerConfig(
                vocab=settings.vocab,
                layers=settings.layers,
                heads=settings.heads,
                width=settings.width,
                hidden=settings.hidden,
                dropout=settings.dropout,
                engine=settings.engine,
            )
        )

    def _draw(self, purpose: str, number: int, count: int, *, held_out: bool) -> list[list[int]]:
        """Return so many sequences, all of those that are held out or all of those that are not."""
        random, settings = generator(self.seed, purpose, number), self.settings
        found: list[list[int]] = []
        while len(found) < count:
            length = int(random.integers(settings.shortest, settings.longest + 1))
            drawn = random.integers(FIRST, settings.vocab, length)
            if (crc32(drawn.astype("<i8").tobytes()) % _HELD_OUT == 0) == held_out:
                found.append(drawn.tolist())
        return found

    def optimizer(self) -> torch.optim.Optimizer:
        """Return Adam as published."""
        return torch.optim.Adam(self.model.parameters(), lr=1.0, betas=(0.9, 0.98), eps=1e-9)

    def rate(self, step: int) -> float:
        """Return the rate: up in a straight line, then down as ``decay`` says."""
        settings = self.settings
        return settings.peak * share_of_peak(
            step, warmup=settings.warmup, steps=settings.steps, decay=settings.decay
        )

    def batch(self, number: int) -> dict[str, Any]:
        """Return new sequences, padded, and what is to be written for them."""
        return _padded(self._draw("batch", number, self.settings.sequences, held_out=False))

    def loss(self, model: Any, batch: Any) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the cross entropy of the real tokens."""
        logits = model(batch["source"], batch["target"], **batch["masks"])
        return masked_cross_entropy(logits, batch["labels"], batch["valid"]), {}

    def evaluate(self, model: Any, tell: Tell) -> dict[str, float]:
        """Return the loss of held-out sequences, each token given all before it."""
        from accelerate.utils import send_to_device

        batch = send_to_device(_padded(self.held_out), next(model.parameters()).device)
        return {"loss": float(self.loss(model, batch)[0])}

    def finish(self, model: Any, tell: Tell) -> Outcome:
        """Copy the held-out sequences, each token written from those written before."""
        tell("copying", 0, len(self.held_out))
        loss = self.evaluate(model, tell)["loss"]
        batch = Batch.from_sequences(self.held_out)
        device = next(model.parameters()).device
        batch = replace(batch, tokens=batch.tokens.to(device))
        made = write(model, batch, begin=BEGIN, eos=END, max_new_tokens=self.settings.longest + 2)
        copies = [tokens.tolist() for tokens in made.tokens]
        right = [copy == [*row, END] for copy, row in zip(copies, self.held_out, strict=True)]
        return Outcome(
            figures=(
                Figure(
                    "held-out sequences copied without a mistake, %",
                    100 * float(np.mean(right)),
                    target=100.0,
                    source="The Annotated Transformer copies one sequence, 1 to 10, and counts "
                    "no others",
                ),
                Figure("held-out loss, nats a token", loss, better="lower"),
            ),
            tables=(_examples(self.held_out, copies),),
            masks=_masks(self.held_out),
            notes=(
                "An end is written too, so that lengths may differ; the published task has "
                "sequences of ten, and no end.",
            ),
        )


RECIPE = Recipe(
    name="copy",
    title="Transformer: the copy task",
    corpus=None,
    presets=PRESETS,
    build=Copying,
)


def _padded(rows: Sequence[list[int]]) -> dict[str, Any]:
    """Return what the model is called with for sequences padded on the right, and the labels."""
    source = Batch.from_sequences(rows, pad=PAD)
    target = Batch.from_sequences([[BEGIN, *row] for row in rows], pad=PAD)
    return {
        "source": source.tokens,
        "target": target.tokens,
        "labels": Batch.from_sequences([[*row, END] for row in rows], pad=PAD).tokens,
        "valid": target.valid,
        "masks": seq2seq_masks(source, target),
    }


def _examples(rows: Sequence[list[int]], copies: Sequence[list[int]]) -> Table:
    return Table(
        "Held-out sequences",
        ("read", "written"),
        tuple(
            (" ".join(map(str, row)), " ".join("end" if t == END else str(t) for t in copy))
            for row, copy in zip(rows[:6], copies, strict=False)
        ),
    )


def _masks(rows: Sequence[list[int]]) -> tuple[MaskShown, ...]:
    """Return the three masks for a sequence that is padded to a longer one's length."""
    short, long = min(rows, key=len), max(rows, key=len)
    source = Batch.from_sequences([short, long])
    target = Batch.from_sequences([[BEGIN, *row] for row in (short, long)])
    masks = seq2seq_masks(source, target)
    names = {PAD: "pad", BEGIN: "begin"}
    read, written = (
        tuple(names.get(token, str(token)) for token in each.tokens[0].tolist())
        for each in (source, target)
    )
    return (
        MaskShown("The encoder's: no padding", masks["source_mask"], read, read),
        MaskShown("The decoder's: nothing that follows", masks["target_mask"], written, written),
        MaskShown("From the decoder to the encoder", masks["memory_mask"], written, read),
    )
