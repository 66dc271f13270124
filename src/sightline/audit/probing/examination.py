"""One audit under way: the subject, its inputs, the conditions, and how the passes are shared.

It decides what is run and when; what a run shows is visibility.py's and properties/'s matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from sightline.audit.contracts import Clause
from sightline.audit.findings import Finding
from sightline.audit.probing.feed import Feed
from sightline.audit.probing.hints import sizes_of
from sightline.audit.probing.judging import LAST_PLACES, sequences, size_of_change
from sightline.audit.probing.not_numbers import not_a_number
from sightline.audit.probing.runner import Counter, Runner
from sightline.audit.probing.subject import Condition, Outputs, Subject, why_failed
from sightline.audit.probing.tracing import trace
from sightline.audit.probing.visibility import Search, Target, targets_of
from sightline.errors import InvalidArgument, SightlineError
from sightline.masks.mask import Mask

# Passes kept for tracing what is found, of the default 40; in proportion of others.
KEPT_FOR_TRACING = 0.35


@dataclass
class Examination:
    """One audit under way.

    Attributes:
        subject: what is audited; may be exchanged for another precision by ``begin``.
        feed: the inputs.
        counter: the passes.
        seed: for inputs and changes.
        wanted: the names of the conditions to run under; None is all.
        method: changes or gradients.
        notes: what the reader should know.
        done: the conditions that were run, in order.
        coverage: the least part of the forbidden pairs that was tested under the first condition.
        rounding: how far outputs move by rounding, as far as that was seen.
        conditions: those to run under, the plain one first; ``begin`` finds them.
    """

    subject: Subject
    feed: Feed
    counter: Counter
    seed: int = 0
    wanted: Sequence[str] | None = None
    method: str = "changes"
    notes: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    coverage: float = 1.0
    rounding: dict[str, float] = field(default_factory=dict)
    conditions: list[Condition] = field(default_factory=list)
    _bases: dict[str, Outputs | None] = field(default_factory=dict)

    @property
    def plain(self) -> Runner:
        """The subject under the first condition."""
        return self.runner(self.conditions[0])

    @cached_property
    def hints(self) -> list[int]:
        """The sizes of windows, chunks and blocks in the model."""
        model = self.subject.model
        return [] if model is None else sizes_of(model).windows

    def runner(self, condition: Condition) -> Runner:
        """Return a runner under a condition."""
        return Runner(self.subject, condition, self.counter, self.seed)

    # -- the beginning ---------------------------------------------------------------------------

    def begin(self) -> None:
        """Run the plain condition, in a precision in which the model runs.

        Raises:
            InvalidArgument: it fails in each.
        """
        self.conditions = self.subject.conditions(self.feed)
        try:
            base: Outputs | None = self.plain(self.feed)
            problem = _overflows(base)
        except SightlineError:
            raise
        except Exception as error:
            base, problem, failure = None, f"{type(error).__name__}: {error}", error
        else:
            failure = None
        if problem and self.subject.dtype == "float64":
            base = self._in_other_dtype(base, problem)
        if base is None:
            raise InvalidArgument(
                f"{self.subject.name} fails on its inputs: {problem}; give inputs= that it accepts."
            ) from failure
        self._bases[self.conditions[0].name] = base
        self._check_power(base)
        self.conditions = self._wanted(self.subject.conditions(self.feed))
        self.counter.done += self.subject.own_passes
        self._check_weights()

    def _in_other_dtype(self, base: Outputs | None, problem: str) -> Outputs | None:
        """Try the numbers that the model has; keep float64 if it is no better there."""
        finer = self.subject
        for dtype in ("float32", "own"):
            try:
                subject = finer.in_dtype(dtype)
                if subject is None:
                    continue
                self.subject = subject
                self.conditions = subject.conditions(self.feed)
                other = self.plain(self.feed)
            except Exception:  # what the first precision said is what the user is told
                continue
            if base is None or not _overflows(other):
                self.notes.append(f"run in {dtype}, since in float64: {problem}")
                return other
        self.subject = finer
        self.conditions = finer.conditions(self.feed)
        return base

    def _wanted(self, known: list[Condition]) -> list[Condition]:
        if self.wanted is None:
            return known
        names = [each.name for each in known]
        unknown = [name for name in self.wanted if name not in names]
        if unknown or not self.wanted:
            raise InvalidArgument(
                f"got the conditions {list(self.wanted)}; this model has {', '.join(names)}."
            )
        return [each for each in known if each.name in self.wanted]

    def _check_power(self, base: Outputs) -> None:
        """Note if nothing that the inputs do moves the outputs: then nothing can be found.

        The pass is watched, so that the conditions are known after it.
        """
        judged = sequences(base, self.feed.batch, self.feed.lengths)
        changed = self.feed.having(
            *(
                each.changed(np.ones(each.values.shape[:2], dtype=bool), self.seed + 5)
                for each in self.feed.varying.values()
            )
        )
        self.subject.watched = True
        try:
            other = self.plain(changed)
        finally:
            self.subject.watched = False
        everywhere = {n: np.ones(a.shape[:2], dtype=bool) for n, a in judged.items()}
        far = [size_of_change(a, other[n], everywhere[n]) for n, a in judged.items() if n in other]
        if judged and max(far, default=0.0) < LAST_PLACES["float64"]:
            self.notes.append(
                "no output depends on any input: an audit of such a model says nothing "
                "(reinitialise=True gives the weights random values)"
            )

    def _check_weights(self) -> None:
        """Note matrices of zeros: what flows through them only cannot be seen."""
        if self.subject.model is None:
            return
        zero = [n for n, p in self.subject.model.named_parameters() if p.ndim > 1 and not p.any()]
        if zero:
            more = f" and {len(zero) - 1} more" if len(zero) > 1 else ""
            self.notes.append(
                f"{zero[0]}{more} hold nothing but zeros, so that what flows through them is not "
                "seen; reinitialise=True gives the weights random values"
            )

    def base(self, condition: Condition) -> Outputs | None:
        """Return the outputs for the inputs as they are; None where the model cannot be run so."""
        if condition.name not in self._bases:
            try:
                self._bases[condition.name] = self.runner(condition)(self.feed)
            except Exception as error:
                self._bases[condition.name] = None
                self.notes.append(f"not run under {condition.name}: {why_failed(error)}")
        base = self._bases[condition.name]
        if base is not None and condition.name not in self.done:
            self.done.append(condition.name)
        return base

    # -- clause by clause ------------------------------------------------------------------------

    def examine(self, clause: Clause, share: float) -> list[Finding]:
        """Return what breaks a clause, using that part of the passes that are left."""
        if not isinstance(clause.promise, Mask):
            from sightline.audit.properties import examine_property

            return list(examine_property(self, clause))
        budget = max(int(self.counter.left * share), 6)
        found: list[Finding] = []
        targets = targets_of(clause, self.feed)
        for target in targets:
            found += self._visibility(target, budget // len(targets))
        return found

    def _visibility(self, target: Target, budget: int) -> Iterable[Finding]:
        """Search under every condition; trace the first leak, and list where else it is."""
        findings: dict[str, Finding] = {}
        leaking: list[str] = []
        held: list[str] = []
        left = max(int(budget * (1 - KEPT_FOR_TRACING)), 3)
        for place, condition in enumerate(self.conditions):
            started, others = self.counter.done, len(self.conditions) - place
            search = self._search(target, condition)
            if search is None:
                continue
            bad = not_a_number(search) if "nan" not in findings else None
            if bad is not None:
                findings["nan"] = bad
            # The first one is tested in full; the others look for another path through the model.
            share = left - 2 * (others - 1) if place == 0 else left // others - 1
            result = search.run(max(1, share))
            left -= self.counter.done - started
            if place == 0:
                self.coverage = min(self.coverage, result.coverage)
            self.notes += result.drift[:1]
            if result.leak is None:
                held.append(condition.name)
            elif leaking:
                leaking.append(condition.name)
            elif (traced := trace(search, result.leak, self.notes)) is not None:
                leaking.append(condition.name)
                findings["leak"] = traced
        if leaking:
            findings["leak"] = replace(
                findings["leak"], conditions=tuple(leaking), held=tuple(held)
            )
        return findings.values()

    def _search(self, target: Target, condition: Condition) -> Search | None:
        base = self.base(condition)
        if base is None:
            return None
        kind = Search
        if self.method == "gradients":
            from sightline.audit.probing.jacobian import GradientSearch

            kind = GradientSearch
        runner = self.runner(condition)
        return kind(runner, self.feed, base, target, self.hints, self.seed + 1, self.rounding)


def _overflows(outputs: Outputs | None) -> str:
    """Return in words that outputs are not numbers; empty if they are."""
    for name, array in (outputs or {}).items():
        if array.dtype.kind == "f" and np.isnan(array).any():
            return f"{name} is NaN"
    return ""
