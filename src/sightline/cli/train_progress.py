"""How a training run is drawn while it goes: a bar with ETA, loss and last evaluation.

On a terminal only, on standard error; elsewhere there is a plain line for each evaluation.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from rich.console import Console

__all__ = ["Drawn"]

# The loss shown is a mean over about so many steps.
_OVER = 50
# What is done in fewer pieces is over before a bar is read.
_LEAST_TOTAL = 2


class Drawn:
    """Told of steps, evaluations and other long work; draws them until the ``with`` ends."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._terminal = sys.stderr.isatty()
        self._console = Console(file=sys.stderr, highlight=False, markup=False)
        self._bar: Any = None
        self._training: Any = None
        self._other: Any = None
        self._loss: float | None = None
        self._last = ""

    def __enter__(self) -> Drawn:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, line: str) -> None:
        """Print a line on standard error."""
        self._console.print(line, soft_wrap=True)

    def step(self, step: int, steps: int, loss: float) -> None:
        """Move the bar to ``step``."""
        share = 1 / _OVER
        self._loss = loss if self._loss is None else (1 - share) * self._loss + share * loss
        if not self._terminal:
            return
        self._end_other()
        bar = self._started()
        if self._training is None:
            self._training = bar.add_task("training", total=steps, completed=step - 1, said="")
        bar.update(self._training, completed=step, said=self._said())

    def evaluated(self, step: int, figures: dict[str, float]) -> None:
        """Print the figures of an evaluation."""
        from sightline.recipes.training.result import short

        self._last = "  ".join(f"{name} {short(value)}" for name, value in figures.items())
        loss = "" if self._loss is None else f"  training loss {short(self._loss)}"
        self._end_other()
        self.say(f"step {step:,} of {self._steps:,}: {self._last}{loss}")

    def tell(self, what: str, done: int, total: int) -> None:
        """Draw a bar of its own for what is not training; a total of 0 is not known."""
        if not self._terminal or 0 < total < _LEAST_TOTAL:
            return
        bar = self._started()
        if self._other is None:
            self._other = bar.add_task(what, total=total or None, said="")
        bar.update(self._other, description=what, total=total or None, completed=done)
        if 0 < total <= done:
            self._end_other()

    def _said(self) -> str:
        from sightline.recipes.training.result import short

        return f"loss {short(self._loss)}" + (f"  ({self._last})" if self._last else "")

    def _started(self) -> Any:
        if self._bar is None:
            from rich import progress

            self._bar = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(bar_width=24),
                progress.MofNCompleteColumn(),
                progress.TimeRemainingColumn(),
                progress.TextColumn("{task.fields[said]}"),
                console=self._console,
                transient=True,
            )
            self._bar.start()
        return self._bar

    def _end_other(self) -> None:
        if self._other is not None:
            self._bar.remove_task(self._other)
            self._other = None
