"""The training loop: steps, evaluations, checkpoints; killed at any time, it goes on as it was.

accelerate places the model and the batches and joins several devices (docs/dependencies.md says
why that and nothing larger). The loop is ours because a run must go on with the very same losses,
and because checkpoints must not be pickles.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import torch

from sightline.errors import InvalidArgument, SightlineError
from sightline.lower.arguments import require_torch
from sightline.recipes.training.checkpoint import (
    Counts,
    load_weights,
    read_counts,
    save_weights,
)
from sightline.recipes.training.devices import accelerator, context_group, gathered, part
from sightline.recipes.training.outcome import Outcome
from sightline.recipes.training.recipe import Task
from sightline.recipes.training.replicas import place
from sightline.recipes.training.run_folder import Curve, Run
from sightline.recipes.training.seeds import seed_for
from sightline.recipes.training.together import Company

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
    company = Company(run.settings.timeout)
    with company.working(f"training {run.recipe}"):
        return _Training(task, run, resume, watch or Watch(), company).finish()


class _Training:
    """One sitting of a run."""

    def __init__(self, task: Task, run: Run, resume: bool, watch: Watch, company: Company) -> None:
        self.accelerator, self.company = accelerator(all_weights=task.all_weights), company
        self.task, self.run, self.watch = task, run, watch
        self.part = part(self.accelerator, run.settings)
        # A folder that not all processes see would set them apart.
        done = read_counts(run.checkpoint).step if resume else 0
        company.meet("the start", recipe=run.recipe, seed=run.seed, step=done, **vars(run.settings))
        if self.part.context_ranks > 1:
            _share(task, run, context_group(self.part, self.accelerator.device))
        self.replicas = place(
            task,
            run.checkpoint if resume else None,
            self.accelerator,
            self.part,
            sharded=run.settings.parallel == "fsdp",
        )
        self.counts = self.replicas.counts
        self.resumed_at = self.counts.step
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
                self._write_losses()
                self.replicas.save(self.run.checkpoint, self.counts)
                self.company.meet(f"the checkpoint of step {self.counts.step}")
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
        """Let the task finish with the best weights, where it is evaluated; the others wait."""
        outcome = Outcome(())
        bare = self.replicas.whole()
        if self.part.data_rank == 0:
            if self.run.best.exists():
                load_weights(self.run.best, bare)
            with self._clock(), self._quiet():
                outcome = self.task.finish(bare, self.watch.tell)
        self.company.meet("the end")
        return outcome

    def _step(self, step: int) -> None:
        settings, replicas = self.run.settings, self.replicas
        for group in replicas.optimizer.param_groups:
            group["lr"] = self.task.rate(step)
        replicas.model.train()
        replicas.optimizer.zero_grad()
        taken = self.part.taken()
        losses, parts = [], {}
        for turn, (number, weight) in enumerate(taken, 1):
            last = turn == len(taken)
            with replicas.turn(last=last):
                loss, told = self._loss(step, number)
                if last:
                    self.company.meet(f"the gradients of step {step}")
                replicas.backward(loss * weight)
            losses.append(loss.detach())
            if weight:
                parts[number] = told
        if settings.clip:
            replicas.clip(settings.clip)
        replicas.optimizer.step()
        every = self.part.in_order(self.accelerator.gather(torch.stack(losses)))
        value = float(every.mean())
        self.counts = replace(self.counts, step=step)
        self.waiting.append({"step": step, "loss": value, "parts": parts})
        if len(self.waiting) >= _CHUNK:
            self._write_losses()
        self.watch.step(step, settings.steps, value)

    def _loss(self, step: int, number: int) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss of one batch of a step, whichever process works it out."""
        from accelerate.utils import send_to_device

        batch = self.task.batch((step - 1) * self.part.micro_batches + number)
        batch = send_to_device(batch, self.accelerator.device)
        torch.manual_seed(seed_for(self.run.seed, "step", step, number))
        return self.task.loss(self.replicas.model, batch)

    def _evaluate(self) -> None:
        """Evaluate in the processes that share the first sequences; the others wait."""
        bare = self.replicas.whole()
        if self.part.data_rank == 0:
            with self._quiet():
                figures = self.task.evaluate(bare, self.watch.tell)
            if self.main:
                self._note(bare, figures)
        self.company.meet(f"the evaluation of step {self.counts.step}")

    def _note(self, bare: Any, figures: dict[str, float]) -> None:
        """Write figures down, and the weights if they are the best so far."""
        value = figures[self.task.metric]
        sign = 1 if self.task.better == "higher" else -1
        before = self.counts.best
        if before is None or sign * value > sign * before:
            self.counts = replace(self.counts, best=value, best_step=self.counts.step)
            save_weights(self.run.best, bare, self.counts)
        self.evaluations.add([{"step": self.counts.step, **figures}])
        self.watch.evaluated(self.counts.step, figures)

    def _write_losses(self) -> None:
        """Append what waits; what the batches of a step have to tell is averaged over them."""
        everyone = gathered([each.pop("parts") for each in self.waiting], self.part.processes)
        if self.main:
            told = [_mean_parts(each) for each in zip(*everyone, strict=True)]
            self.losses.add(
                {**record, **parts} for record, parts in zip(self.waiting, told, strict=True)
            )
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


def _share(task: Task, run: Run, group: Any) -> None:
    """Tell a task with whom it shares its sequences.

    Raises:
        InvalidArgument: it cannot.
    """
    try:
        task.share(group)
    except SightlineError:
        raise
    except NotImplementedError as error:
        raise InvalidArgument(
            f"got context_ranks={run.settings.context_ranks} for the recipe {run.recipe!r}, whose "
            "sequences stay in one process; wanted context_ranks=1; the processes then share out "
            "the batches of a step (--set micro_batches=N)."
        ) from error


def _mean_parts(told: Iterable[Mapping[int, dict[str, float]]]) -> dict[str, float]:
    """Return the mean of each part over the batches of a step that have it, in their order."""
    found: dict[str, list[float]] = {}
    for _, parts in sorted((pair for one in told for pair in one.items()), key=itemgetter(0)):
        for name, value in parts.items():
            found.setdefault(name, []).append(value)
    return {name: math.fsum(values) / len(values) for name, values in found.items()}
