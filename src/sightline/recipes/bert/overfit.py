"""BERT learns the sample text of its publication by heart: 31 sentences, from scratch.

That is the check that data, model and losses fit together. The task is task.py's.
"""

from __future__ import annotations

from pathlib import Path

from sightline.errors import InvalidArgument
from sightline.readers.documents import read_documents
from sightline.readers.lines import find_file
from sightline.recipes.bert.sample import write_plain
from sightline.recipes.bert.task import BertSettings, PreTraining
from sightline.recipes.training.outcome import Figure
from sightline.recipes.training.recipe import Recipe

__all__ = ["RECIPE", "ByHeart", "build"]

_SOURCE = (
    "README of google-research/bert: 20 updates of batches of 32, from the released uncased "
    "BERT-base, evaluated on the training instances"
)


class ByHeart(PreTraining):
    """Judged by the very instances that it trains on, as the published example is."""

    notes = (
        "The published example goes on from a released checkpoint for 20 updates; this one begins "
        "from random weights, which takes more of them.",
    )

    def __init__(self, settings: BertSettings, text: list[list[str]], seed: int) -> None:
        super().__init__(settings, {"train": text}, seed)
        self.instances = dict.fromkeys(("train", "dev", "test"), self.instances["train"])

    def figures(self, measured: dict[str, float]) -> tuple[Figure, ...]:
        """Return both accuracies beside the published ones."""
        return (
            Figure(
                "masked tokens told right",
                measured["mlm_accuracy"],
                target=0.95,
                published=0.985,
                source=_SOURCE,
            ),
            Figure(
                "next sentences told right",
                measured["nsp_accuracy"],
                target=1.0,
                published=1.0,
                source=_SOURCE,
            ),
            Figure("loss of masked tokens, nats", measured["mlm_loss"], better="lower"),
        )


def build(settings: BertSettings, data: Path | None, seed: int) -> PreTraining:
    """Return the task; ``data`` is a folder with sample_text.txt."""
    if data is None:
        raise InvalidArgument(
            "got no folder; wanted one with sample_text.txt; name it with --data."
        )
    path = find_file(data, "sample_text.txt", "one sentence a line, documents apart by blank lines")
    return ByHeart(settings, list(read_documents(path)), seed)


RECIPE = Recipe(
    name="bert-overfit",
    title="BERT learns the sample text of its publication by heart",
    corpus="bert",
    presets={
        "small": BertSettings(
            steps=800,
            evaluate_every=50,
            checkpoint_every=100,
            vocab=1000,
            layers=2,
            heads=4,
            width=128,
            hidden=512,
            dropout=0.0,
            duplicates=5,
            batch=16,
            rate=1e-3,
            warmup=50,
        ),
        # The README's example: BERT-base, lr 2e-5; from random weights it needs more updates.
        "paper": BertSettings(
            steps=2000,
            evaluate_every=100,
            checkpoint_every=100,
            vocab=30522,
            layers=12,
            heads=12,
            width=768,
            hidden=3072,
            duplicates=5,
            batch=32,
            rate=2e-5,
            warmup=10,
        ),
        "smoke": BertSettings(
            steps=120,
            evaluate_every=60,
            checkpoint_every=40,
            vocab=120,
            layers=1,
            heads=2,
            width=64,
            hidden=128,
            dropout=0.0,
            max_length=48,
            duplicates=1,
            batch=8,
            rate=5e-3,
            warmup=20,
        ),
    },
    build=build,
    sample=write_plain,
)
