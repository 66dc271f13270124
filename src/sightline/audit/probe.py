"""The front door: ``audit(model, contract)`` runs a model and says where it breaks its contract.

The way: the subject and its inputs; each clause under each condition (visibility.py for masks,
properties/ for other promises); what is found is traced to its place (tracing.py).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, cast

from sightline.audit.contracts import Clause, Contract, clauses_of
from sightline.audit.findings import Finding, Report
from sightline.audit.hf.subject import (
    TransformersSubject,
    contract_for,
    is_transformers,
    transformers_feed,
    transformers_subject,
)
from sightline.audit.probing.examination import Examination
from sightline.audit.probing.feed import Feed
from sightline.audit.probing.making import check_subject, given_feed, made_feed
from sightline.audit.probing.runner import Counter
from sightline.audit.probing.subject import FunctionSubject, Subject
from sightline.errors import InvalidArgument
from sightline.masks.mask import Mask


def audit(
    model: Any,
    contract: Mask | Contract | Sequence[Any] | dict[str, Any] | None = None,
    inputs: Any = None,
    *,
    length: int | None = None,
    batch: int | None = None,
    vocab: int | None = None,
    passes: int = 40,
    conditions: Sequence[str] | None = None,
    method: str = "changes",
    reinitialise: bool = False,
    time_first: bool | None = None,
    dtype: str = "float64",
    name: str = "",
    source: str = "",
    seed: int = 0,
) -> Report:
    """Run a model and report every output that depends on an input that its contract forbids.

    Inputs that must not matter are changed by large amounts, in float64, and no bit of the outputs
    that may not see them may change; what does is told from rounding by running it in float32. The
    model is copied, never changed. Each row of the batch carries a test of its own.

    Args:
        model: a ``torch.nn.Module``; a model, config or class of transformers, or the path of a
            ``config.json`` (of these a tiny model with random weights is made); or a function of
            numpy or jax arrays.
        contract: who may see whom, as a mask over (output position, input position), such as
            ``sl.causal()``; another promise such as ``sl.audit.pad_invariant()``; a list of these;
            or a dict from the names of inputs (``"clicks"``, ``"x[3]"`` for a feature, ``"clicks
            -> scores"`` for one output) to these. None, for transformers only, is what the model
            is by its class: a decoder reads forward only, and nothing reads padding.
        inputs: what the model is run on: an array ``[batch, sequence, ...]``, a tuple, or a dict
            by keyword. None makes inputs from the model's layers; functions need them.
        length: the sequence length of inputs that are made; None is beyond every window found.
        batch: the number of rows of inputs that are made.
        vocab: how many different tokens there are; None looks at the model or the inputs.
        passes: about how many forward passes may be run, localisation included; what they do not
            cover is said in the report. At least 8.
        conditions: names of the conditions to run under, such as ``["eval", "train"]``; None is
            all that the model has.
        method: ``"changes"`` exchanges values; ``"gradients"`` asks a torch module for its Jacobian
            instead, which sees what a change of these values does not show (a maximum that stays
            the same one) and misses what has no gradient (a choice).
        reinitialise: give the weights new random values first: leaks through weights that are
            zero or tiny cannot be seen otherwise.
        time_first: the tensors are ``[sequence, batch, ...]``; None asks the model's
            ``batch_first``.
        dtype: the numbers to run in: float64, float32, or ``"own"``, those that the model has.
        name: what the report calls the model.
        source: ``"module:factory"``, what made the model, for the scripts that show a leak.
        seed: for inputs and changes.

    Returns:
        The report: empty of findings for a model that obeys. ``report.check()`` raises otherwise.

    Raises:
        InvalidArgument: what is given cannot be audited, or the model fails on its inputs.

    Sources: for the perturbation test, Karpathy 2019, "A recipe for training neural networks"
    (using backprop to chart dependencies); for group testing, Dorfman 1943.

    >>> import sightline as sl, torch
    >>> class Leaky(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.embed = torch.nn.Embedding(19, 8)
    ...     def forward(self, tokens):
    ...         x = self.embed(tokens)
    ...         return x + x.mean(dim=1, keepdim=True)
    >>> report = sl.audit(Leaky(), sl.causal())
    >>> report.ok, report.findings[0].measured
    (False, everything())
    >>> sl.audit(torch.nn.Embedding(19, 8), sl.causal()).ok
    True
    """
    started = time.perf_counter()
    if passes < 8:
        raise InvalidArgument(f"got passes={passes}; an audit needs at least 8.")
    subject = subject_of(model, name, dtype, time_first, reinitialise, seed)
    if subject.model is not None:
        cast(Any, subject).source = source
    clauses = clauses_of(contract if contract is not None else promised(subject))
    feed = feed_of(subject, model, inputs, batch, length, vocab, seed)
    if method not in ("changes", "gradients") or (method == "gradients" and not subject.model):
        raise InvalidArgument(
            f"got method={method!r}; wanted changes, or, for torch modules only, gradients."
        )
    examination = Examination(subject, feed, Counter(0, passes), seed, conditions, method)
    examination.begin()
    findings: list[Finding] = []
    for place, clause in enumerate(clauses):
        findings += examination.examine(clause, share=1 / (len(clauses) - place))
    return _report(examination, clauses, findings, time.perf_counter() - started)


def _report(
    examination: Examination, clauses: Sequence[Clause], findings: list[Finding], seconds: float
) -> Report:
    """Return the report of an examination that is over."""
    feed = examination.feed
    return Report(
        subject=examination.subject.name,
        contracts=tuple(str(clause) for clause in clauses),
        findings=tuple(findings),
        notes=tuple(dict.fromkeys((*feed.notes, *examination.notes))),
        conditions=tuple(examination.done),
        sizes={
            n: tuple(e.values.shape) for n, e in feed.inputs.items() if hasattr(e.values, "shape")
        },
        coverage=examination.coverage,
        passes=examination.counter.done,
        dtype=examination.subject.dtype,
        seconds=seconds,
    )


def subject_of(
    model: Any, name: str, dtype: str, time_first: bool | None, reinitialise: bool, seed: int
) -> Subject:
    """Return what is audited as a subject, by what it is."""
    if dtype not in ("float64", "float32", "own"):
        raise InvalidArgument(f"got dtype={dtype!r}; wanted float64, float32 or own.")
    if is_transformers(model):
        return transformers_subject(
            model, name=name, dtype=dtype, reinitialise=reinitialise, seed=seed
        )
    check_subject(model)
    if not hasattr(model, "named_modules"):
        return FunctionSubject(model)
    from sightline.audit.probing.torch_subject import TorchSubject

    first = time_first if time_first is not None else _is_time_first(model)
    return TorchSubject(
        model, name=name, dtype=dtype, time_first=first, reinitialise=reinitialise, seed=seed
    )


def _is_time_first(model: Any) -> bool:
    """Return what a module says of itself, or what torch's own containers say in their layers."""
    own = type(model).__module__.startswith("torch.nn")
    asked = model.modules() if own else [model]
    said = [
        each.batch_first for each in asked if isinstance(getattr(each, "batch_first", None), bool)
    ]
    return bool(said) and said[0] is False


def feed_of(
    subject: Subject,
    model: Any,
    inputs: Any,
    batch: int | None,
    length: int | None,
    vocab: int | None,
    seed: int,
) -> Feed:
    """Return the inputs: those that are given, or made ones."""
    if inputs is not None:
        called = model if subject.model is None else subject.model
        return given_feed(inputs, called, vocab, getattr(subject, "time_first", False))
    if isinstance(subject, TransformersSubject):
        return transformers_feed(subject.model, batch=batch, length=length, vocab=vocab, seed=seed)
    if subject.model is None:
        raise InvalidArgument(
            f"{subject.name} is a function, whose inputs an audit cannot know; give inputs=, an "
            "array [batch, sequence, ...], a tuple, or a dict by keyword."
        )
    return made_feed(subject, batch, length, vocab, seed)


def promised(subject: Subject) -> Mask | dict[str, Mask]:
    """Return what a model promises by what it is.

    Raises:
        InvalidArgument: only models of transformers say that.
    """
    if isinstance(subject, TransformersSubject):
        return contract_for(subject.model)
    raise InvalidArgument(
        f"got no contract for {subject.name}; say who may see whom, such as sl.causal() for a "
        "model that reads forward only."
    )
