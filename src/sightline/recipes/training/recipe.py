"""What a recipe has to say: its settings, and the task that training asks for batches and losses.

How it is trained, saved and resumed is loop.py's matter; what comes out is in outcome.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from sightline.recipes.training.outcome import Outcome

__all__ = ["ANYHOW", "Recipe", "Settings", "Task", "Tell"]

# Settings that say on which devices a run is made, not what is learned: each sitting has its own.
ANYHOW = frozenset({"parallel", "context_ranks", "timeout"})

# What is being done, how much of it is done, and how much there is.
Tell = Callable[[str, int, int], object]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What can be chosen in every recipe; each recipe's own settings extend this.

    Every field has a default and is a number, a word or a yes or no, so that the command line can
    set it: ``--set width=64``.

    Attributes:
        steps: updates of the weights.
        evaluate_every: steps between two evaluations; there is one at the end in any case.
        checkpoint_every: steps between two checkpoints.
        clip: the largest norm of all gradients together; 0 for no limit.
        engine: which engine computes attention, as for ``sl.attend``.
        micro_batches: batches of one step. Its loss is the mean of theirs, each a mean over its own
            tokens; the processes of a run share them out, so the curve is the same on any number.
            0: as many as there are to share them at the start of the run; run.json keeps it.
        parallel: "ddp" keeps the weights whole in every process, "fsdp" spreads them over all.
        context_ranks: processes that share one sequence (context parallelism), where a recipe can.
        timeout: seconds that a process waits for another before it gives up.
    """

    steps: int = 1000
    evaluate_every: int = 100
    checkpoint_every: int = 100
    clip: float = 1.0
    engine: str = "auto"
    micro_batches: int = 0
    parallel: str = "ddp"
    context_ranks: int = 1
    timeout: int = 1800


class Task(ABC):
    """One model, its data and its loss: everything that training asks a recipe for.

    A batch is a function of its number alone (and of the seed the task was built with), and
    torch's random numbers are set anew before every batch. So a run that was killed goes on with
    the very losses it would have had, on one process or on many.

    ``evaluate`` and ``finish`` are called in the first process while the others wait; with
    ``context_ranks`` in all processes that share its sequences, whose first one is listened to.

    Attributes:
        model: the network, in float32 on the CPU when built; training moves it.
        metric: which figure of ``evaluate`` says how good the model is.
        better: whether "lower" or "higher" is better.
        all_weights: whether the loss of every batch uses every weight. UniLM's does not: only some
            batches ask for the next sentence.
    """

    model: torch.nn.Module
    metric: str = "loss"
    better: Literal["lower", "higher"] = "lower"
    all_weights: bool = False

    @abstractmethod
    def optimizer(self) -> torch.optim.Optimizer:
        """Return a new optimizer of the model's parameters."""

    @abstractmethod
    def rate(self, step: int) -> float:
        """Return the learning rate of update number ``step`` (from 1)."""

    @abstractmethod
    def batch(self, number: int) -> Any:
        """Return batch ``number`` (from 0): tensors and masks in tuples, lists or dicts."""

    @abstractmethod
    def loss(self, model: Any, batch: Any) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss to be lowered and parts of it worth a curve of their own (or {})."""

    @abstractmethod
    def evaluate(self, model: Any, tell: Tell) -> dict[str, float]:
        """Return figures on held-out data, ``metric`` among them; the model is in eval mode."""

    @abstractmethod
    def finish(self, model: Any, tell: Tell) -> Outcome:
        """Return what came out: figures on test data, examples, pictures. Weights are the best."""

    def share(self, group: Any) -> None:
        """From now on, share every sequence with the processes of ``group``, torch's own.

        Called once before the first step where ``context_ranks`` is above 1. These processes are
        handed the same batches and random numbers. The mean of their losses is the loss: a process
        returns its own sum / (the count in all of them / their number).
        """
        raise NotImplementedError

    def save(self, folder: Path) -> None:  # noqa: B027  (most tasks have something, not all)
        """Write what one needs beside the weights to use the model: vocabularies, tokenizers.

        Called before the first step, with the run's folder; files are written atomically.
        """


@dataclass(frozen=True)
class Recipe:
    """A row of the table of recipes: data -> training -> evaluation -> report.

    Attributes:
        name: the word after ``sightline train``.
        title: what it is, in a line.
        corpus: the name of the corpus in readers/corpora.py, or None if there is nothing to fetch.
        presets: settings by name: "small" (minutes on a CPU), "paper" (as published), "smoke"
            (seconds: for tests).
        build: (settings, data, seed) -> task; ``data`` is a folder with the corpus's files.
        sample: writes a small corpus, of our own writing, in the corpus's form into a folder;
            the smoke preset learns from it where no data are given. None if there is no corpus.
        origin: where the data are from, if there is no corpus: "generated", or the package that
            brings them along.
        takes_data: whether a folder that the user names is handed to ``build`` although there is
            no corpus: for files of one's own.
    """

    name: str
    title: str
    corpus: str | None
    presets: Mapping[str, Settings]
    build: Callable[[Any, Path | None, int], Task]
    sample: Callable[[Path], None] | None = None
    origin: str = "generated"
    takes_data: bool = False
