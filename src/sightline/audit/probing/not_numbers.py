"""Outputs that are NaN though the inputs are numbers: mostly queries that may see nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from sightline.audit.findings import Finding, Pair, Place
from sightline.audit.probing.runner import Runner
from sightline.audit.probing.visibility import Search


def not_a_number(search: Search) -> Finding | None:
    """Return a finding if an output at a real position is NaN.

    Takes one more pass, to see which module makes it first, if there is one.
    """
    runner = search.runner
    quiet = search.quiet(np.zeros((search.feed.batch, search.target.length), dtype=bool))
    for name, array in search.judged.items():
        if array.dtype.kind != "f":
            continue
        wrong = np.isnan(array).reshape(*array.shape[:2], -1).any(axis=-1) & quiet[array.shape[1]]
        if not wrong.any():
            continue
        rows, queries = np.nonzero(wrong)
        row, query = int(rows[0]), int(queries[0])
        return Finding(
            "nan",
            str(search.target.clause),
            f"{name} is NaN at {int(wrong.sum())} of {wrong.size} positions, the first at row "
            f"{row}, position {query}, though no input is",
            output=name,
            conditions=(runner.condition.name,),
            pairs=(Pair(row, query, -1),),
            place=_place(search, runner),
            cause=(
                "a query that may see no key at all gives 0/0 in a softmax: give it weights of 0 "
                "(sl.attend does), or let it see itself"
            ),
        )
    return None


def _place(search: Search, runner: Runner) -> Place | None:
    """Return the first module that makes a NaN from numbers."""
    model = runner.subject.model
    if model is None:
        return None
    found: list[Place] = []
    handles = [
        module.register_forward_hook(_hook(name, found)) for name, module in model.named_modules()
    ]
    try:
        runner(search.feed)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def _hook(name: str, found: list[Place]) -> Any:
    def look(module: Any, given: Any, result: Any) -> None:
        if not found and _has_nan(result) and not _has_nan(given):
            found.append(Place(name, type(module).__name__))

    return look


def _has_nan(value: Any) -> bool:
    if hasattr(value, "isnan") and getattr(value, "is_floating_point", lambda: False)():
        return bool(value.isnan().any())
    if isinstance(value, dict):
        return any(_has_nan(each) for each in value.values())
    return isinstance(value, (tuple, list)) and any(_has_nan(each) for each in value)
