"""The training loop: steps, evaluations, checkpoints; killed at any time, it goes on as it was.

accelerate places the model and the batches and joins several devices (docs/dependencies.md says
why that and nothing larger). The loop is ours because a run must go on with the very same losses,
and because checkpoints must not be pickles.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from sightline.lower.arguments import require_torch
from sightline.recipes.training.checkpoint import (
    Counts,
    load_state,
    load_weights,
    save_state,
    save_weights,
)
from sightline.recipes.training.devices import accelerator
from sightline.recipes.training.outcome import Outcome
from sightline.recipes.training.recipe import Task
from sightline.recipes.training.run_folder import Curve, Run
from sightline.recipes.training.seeds import seed_for

__all__ = ["Trained", "Watch", "train"]

require_torch("sightline train")

# Losses are written in chunks: a line a step would cost as much as a small model's step.
_CHUNK = 50


@dataclass(frozen=True)
class Watch:
    """Who is told how it goes; the command line draws it.

    Attributes:
        step: (step, steps, loss) after every update.
        evaluated: (step, figures) after every evaluation.
        tell: (what, done, total) during anything else that takes a while; a total of 0 is unknown.
    """

    step: Callable[[int, int, float], object] = lambda step, steps, loss: None
    evaluated: Callable[[int, dict[str, float]], object] = lambda step, figures: None
    tell: Callable[[str, int, int], object] = lambda what, done, total: None


@dataclass(frozen=True, eq=False)
class Trained:
    """A finished run: the best weights stand in the task's model."""

    task: Task
    outcome: Outcome
    counts: Counts
    losses: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    resumed_at: int
    device: str
    processes: int


def train(task: Task, run: Run, *, resume: bool, watch: Watch | None = None) -> Trained:
    """Train a task to its last step and let it finish; checkpoints lie in the run's folder.

    Args:
        task: what to learn.
        run: where to keep it (``open_run`` made the folder).
        resume: whether to go on with the checkpoint that lies there.
        watch: who is told how it goes.
    """
    return _Training(task, run, resume, watch or Watch()).finish()


class _Training:
    """One sitting of a run."""

    def __init__(self, task: Task, run: Run, resume: bool, watch: Watch) -> None:
        self.accelerator = accelerator()
        self.task, self.run, self.watch = task, run, watch
        optimizer = task.optimizer()
        self.counts = load_state(run.checkpoint, task.model, optimizer) if resume else Counts()
        self.resumed_at = self.counts.step
        self.model, self.optimizer = self.accelerator.prepare(task.model, optimizer)
        self.main = self.accelerator.is_main_process
        self.waiting: list[dict[str, Any]] = []
        if self.main:
            task.save(run.folder)
            self.losses = Curve(run.folder / "losses.jsonl", up_to=self.counts.step)
            self.evaluations = Curve(run.folder / "evaluations.jsonl", up_to=self.counts.step)

    def finish(self) -> Trained:
        settings = self.run.settings
        while self.counts.step < settings.steps:
            with self._clock():
                self._step(self.counts.step + 1)
                last = self.counts.step == settings.steps
                if last or self.counts.step % settings.evaluate_every == 0:
                    self._evaluate()
            if last or self.counts.step % settings.checkpoint_every == 0:
                self._save()
        return Trained(
            task=self.task,
            outcome=self._outcome(),
            counts=self.counts,
            losses=self.losses.read() if self.main else [],
            evaluations=self.evaluations.read() if self.main else [],
            resumed_at=self.resumed_at,
            device=str(self.accelerator.device),
            processes=self.accelerator.num_processes,
        )

    def _outcome(self) -> Outcome:
        """Let the task finish with the best weights, on the first process; the others wait."""
        outcome = Outcome(())
        if self.main:
            bare = self.accelerator.unwrap_model(self.model)
            if self.run.best.exists():
                load_weights(self.run.best, bare)
            with self._clock(), self._quiet():
                outcome = self.task.finish(bare, self.watch.tell)
        self.accelerator.wait_for_everyone()
        return outcome

    def _step(self, step: int) -> None:
        from accelerate.utils import send_to_device

        joined, settings = self.accelerator, self.run.settings
        rank = joined.process_index
        batch = self.task.batch((step - 1) * joined.num_processes + rank)
        batch = send_to_device(batch, joined.device)
        torch.manual_seed(seed_for(self.run.seed, "step", step, rank))
        for group in self.optimizer.param_groups:
            group["lr"] = self.task.rate(step)
        self.model.train()
        loss, parts = self.task.loss(self.model, batch)
        self.optimizer.zero_grad()
        joined.backward(loss)
        if settings.clip:
            joined.clip_grad_norm_(self.model.parameters(), settings.clip)
        self.optimizer.step()
        value = float(joined.reduce(loss.detach(), "mean"))
        self.counts = replace(self.counts, step=step)
        self.waiting.append({"step": step, "loss": value, **parts})
        if len(self.waiting) >= _CHUNK:
            self._write_losses()
        self.watch.step(step, settings.steps, value)

    def _evaluate(self) -> None:
        """Evaluate on the first process; the others wait."""
        bare = self.accelerator.unwrap_model(self.model)
        if self.main:
            with self._quiet():
                figures = self.task.evaluate(bare, self.watch.tell)
            value = figures[self.task.metric]
            sign = 1 if self.task.better == "higher" else -1
            before = self.counts.best
            if before is None or sign * value > sign * before:
                self.counts = replace(self.counts, best=value, best_step=self.counts.step)
                save_weights(self.run.best, bare, self.counts)
            self.evaluations.add([{"step": self.counts.step, **figures}])
            self.watch.evaluated(self.counts.step, figures)
        self.accelerator.wait_for_everyone()

    def _save(self) -> None:
        if self.main:
            self._write_losses()
            bare = self.accelerator.unwrap_model(self.model)
            save_state(self.run.checkpoint, bare, self.optimizer, self.counts)
        self.accelerator.wait_for_everyone()

    def _write_losses(self) -> None:
        if self.main:
            self.losses.add(self.waiting)
        self.waiting = []

    @contextmanager
    def _quiet(self) -> Any:
        """In eval mode, without gradients, from random numbers of its own."""
        self.task.model.eval()
        torch.manual_seed(seed_for(self.run.seed, "evaluation"))
        with torch.no_grad():
            yield

    @contextmanager
    def _clock(self) -> Any:
        """Count the time that passes."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.counts = replace(
                self.counts,
                seconds=self.counts.seconds + time.perf_counter() - wall,
                cpu_seconds=self.counts.cpu_seconds + time.process_time() - cpu,
            )
