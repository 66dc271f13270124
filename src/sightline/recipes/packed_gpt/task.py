"""Learning to guess the next character of a document among others packed into one sequence.

The model is models/gpt.py; sharing a sequence between processes is shared.py's matter, and what
came out is outcome.py's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from sightline.errors import DataError, InvalidArgument
from sightline.models.gpt import GPT
from sightline.readers.plain_text import Characters, read_plain_text
from sightline.recipes.decay import matrices_decay
from sightline.recipes.packed_gpt.outcome import what_came_out
from sightline.recipes.packed_gpt.packing import IGNORED, Packed, pack, speeches
from sightline.recipes.packed_gpt.settings import (
    FILE,
    VOCABULARY,
    PackedSettings,
    gpt_config,
)
from sightline.recipes.packed_gpt.shared import shared_logits, shared_loss
from sightline.recipes.rates import share_of_peak
from sightline.recipes.training.outcome import Outcome
from sightline.recipes.training.recipe import Task, Tell
from sightline.recipes.training.seeds import generator, seed_for
from sightline.views.files import write_atomically

__all__ = ["PackedTask", "build"]

_EVALUATED_AT_ONCE = 16384  # characters


class PackedTask(Task):
    """The next character of a document, from those of it that came before.

    Documents are packed once: which ones stand beside each other changes nothing, for none sees
    another. Only the order of the sequences is drawn anew in each epoch.

    Args:
        settings: sizes and rates.
        text: its speeches are the documents; the last tenth of them is held out.
        seed: of the first weights, of how documents are packed, and of the order of sequences.
        path: where the text comes from, for errors.

    Raises:
        DataError: too few documents.
    """

    metric, better = "loss", "lower"
    all_weights = True

    def __init__(
        self, settings: PackedSettings, text: str, seed: int, path: str = "the text"
    ) -> None:
        self.settings, self.seed = settings, seed
        self.group: Any = None  # of the processes that share a sequence, if several do
        self.characters = Characters.of(text)
        found = [self.characters.numbers(each) for each in speeches(text)]
        cut = 9 * len(found) // 10
        if not any(len(each) > 1 for each in found[:cut]):
            raise DataError(
                f"got {len(found)} documents; wanted at least 2 of several characters, so that one "
                "is learned from and one held out; separate documents by blank lines.",
                path=path,
            )
        order = generator(seed, "packing").permutation(cut)
        self.learned = pack([found[number] for number in order], settings.context)
        self.held_out = pack(found[cut:], settings.context)
        torch.manual_seed(seed_for(seed, "weights"))
        self.model = GPT(gpt_config(settings, len(self.characters)))

    def optimizer(self) -> torch.optim.Optimizer:
        """Return AdamW that lets matrices decay, and nothing else."""
        settings = self.settings
        groups = matrices_decay(self.model, settings.decay)
        betas = (settings.beta_1, settings.beta_2)
        return torch.optim.AdamW(groups, lr=settings.rate, betas=betas)

    def rate(self, step: int) -> float:
        """Return the rate: up in a line, down along half a cosine to 0."""
        made = self.settings
        share = share_of_peak(step, warmup=made.warm_up, steps=made.steps, decay="cosine")
        return made.rate * share

    def batch(self, number: int) -> dict[str, Any]:
        """Return ``batch`` packed sequences; in an epoch every one comes once."""
        first = number * self.settings.batch
        return self.sequences(
            self.learned, [self._sequence(first + i) for i in range(self.settings.batch)]
        )

    def share(self, group: Any) -> None:
        """Share every sequence with the processes of a group, from now on."""
        self.group = group

    def loss(self, model: Any, batch: Any) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the cross-entropy of the next character, in nats.

        Where sequences are shared it is this process's part, and the mean over them the whole.
        """
        if self.group is not None:
            return shared_loss(model, batch, self.group), {}
        logits = self.logits(model, batch).flatten(0, 1)
        return cross_entropy(logits, batch["labels"].flatten(), ignore_index=IGNORED), {}

    def logits(self, model: Any, batch: dict[str, Any]) -> torch.Tensor:
        """Return the logits [batch, context, vocab], of shared sequences on every process."""
        if self.group is not None:
            return shared_logits(model, batch, self.group)
        return model(batch["tokens"], positions=batch["positions"], mask=batch["mask"])

    def evaluate(self, model: Any, tell: Tell) -> dict[str, float]:
        """Return the loss over all held-out characters that have one before them."""
        return {"loss": float(self.held_out_losses(model, tell).mean())}

    def held_out_losses(self, model: Any, tell: Tell) -> torch.Tensor:
        """Return the loss of each held-out character that is asked for, in their order."""
        at_once = max(1, _EVALUATED_AT_ONCE // self.settings.context)
        found = []
        for first in range(0, len(self.held_out), at_once):
            rows = list(range(first, min(first + at_once, len(self.held_out))))
            batch = self.sequences(self.held_out, rows, self.device(model))
            logits = self.logits(model, batch)
            asked = batch["labels"] != IGNORED
            losses = cross_entropy(logits[asked], batch["labels"][asked], reduction="none")
            found.append(losses.double().cpu())
            tell("held-out documents", rows[-1] + 1, len(self.held_out))
        return torch.cat(found)

    def finish(self, model: Any, tell: Tell) -> Outcome:
        """Return the losses, whether documents see each other, samples, and who holds what."""
        return what_came_out(self, model, tell)

    def save(self, folder: Path) -> None:
        """Write the characters."""
        write_atomically(folder / VOCABULARY, self.characters.as_json())

    @staticmethod
    def sequences(packed: Packed, rows: list[int], device: Any = None) -> dict[str, Any]:
        """Return some packed sequences as tensors [rows, context], with their mask."""
        arrays = {"tokens": packed.tokens, "labels": packed.labels, "positions": packed.positions}
        tensors = {name: torch.from_numpy(each[rows]) for name, each in arrays.items()}
        made: dict[str, Any] = {name: each.to(device) for name, each in tensors.items()}
        return {**made, "mask": packed.mask(rows)}

    @staticmethod
    def device(model: torch.nn.Module) -> torch.device:
        """Return where a model is."""
        return next(model.parameters()).device

    def _sequence(self, number: int) -> int:
        """Return which sequence comes at this place of all epochs."""
        epoch, place = divmod(number, len(self.learned))
        return int(generator(self.seed, "epoch", epoch).permutation(len(self.learned))[place])


def build(settings: PackedSettings, data: Path | None, seed: int) -> PackedTask:
    """Return the task of learning the documents of a text in a folder.

    Raises:
        DataError: no such text, or one with too few documents.
    """
    if data is None:
        raise InvalidArgument(f"got no folder; wanted one with {FILE}; name it with --data.")
    text = read_plain_text(data, FILE)
    return PackedTask(settings, text, seed, str(Path(data) / FILE))
