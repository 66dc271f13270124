"""A task's model on the devices of a run: whole in every process (DDP), its gradients averaged.

What the loop asks of a model and its optimizer beyond a step: whole weights, and the whole state
in one file.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from sightline.recipes.training.checkpoint import Counts, load_state, save_state
from sightline.recipes.training.recipe import Task

__all__ = ["Replicas"]


class Replicas:
    """The model in every process.

    Attributes:
        model: what the task's loss is given.
        optimizer: of its weights.
        counts: how far the run is, from its checkpoint.
    """

    def __init__(self, task: Task, checkpoint: Path | None, accelerator: Any) -> None:
        self.joined = accelerator
        optimizer = task.optimizer()
        self.counts = load_state(checkpoint, task.model, optimizer) if checkpoint else Counts()
        self.model, self.optimizer = accelerator.prepare(task.model, optimizer)

    def backward(self, loss: torch.Tensor, *, last: bool) -> None:
        """Add to the gradients; the ``last`` of a step averages them over the processes."""
        with nullcontext() if last else self.joined.no_sync(self.model):
            self.joined.backward(loss)

    def clip(self, norm: float) -> None:
        """Hold the norm of all gradients together below ``norm``."""
        self.joined.clip_grad_norm_(self.model.parameters(), norm)

    def whole(self) -> Any:
        """Return the model with all its weights; every process must ask."""
        return self.joined.unwrap_model(self.model)

    def save(self, path: Path, counts: Counts) -> None:
        """Write the state, in the first process; every one must ask."""
        if self.joined.is_main_process:
            save_state(path, self.whole(), self.optimizer, counts)
