"""Runs a subject under one condition and counts how often."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sightline.audit.probing.feed import Feed
from sightline.audit.probing.subject import Condition, Outputs, Subject


@dataclass
class Counter:
    """How many passes have been run so far, of how many."""

    done: int = 0
    most: int = 40

    @property
    def left(self) -> int:
        """How many may still be run."""
        return self.most - self.done


@dataclass(frozen=True)
class Runner:
    """A subject under one condition; calling it is one forward pass.

    Attributes:
        subject: what is run.
        condition: how.
        counter: counts the passes of all runners that share it.
        seed: what random numbers inside the model start from, the same for each pass.
    """

    subject: Subject
    condition: Condition
    counter: Counter
    seed: int = 0

    def __call__(self, feed: Feed) -> Outputs:
        """Run it once."""
        self.counter.done += 1
        return self.subject.run(feed, self.condition, self.seed)

    def under(self, condition: Condition) -> Runner:
        """Return a runner of another condition that shares the counter."""
        return replace(self, condition=condition)
