"""The list of rules: a new one is a file and a name here. Each is loaded when asked for."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module

from sightline.audit.linting.rule import LintRule
from sightline.errors import InvalidArgument

NAMES = (
    "discarded-masked-fill",
    "triangle-sense",
    "float-zero-one-mask",
    "is-causal-with-mask",
    "repeat-for-repeat-interleave",
    "pad-mask-on-query-axis",
    "missing-memory-key-padding-mask",
    "zero-before-softmax",
    "mask-after-softmax",
    "mask-after-positions",
    "softmax-over-queries",
    "softmax-over-time-without-mask",
    "mean-over-padded-time",
    "unused-mask-argument",
    "pad-is-eos",
    "mask-constant",
)


def find_rule(name: str) -> LintRule:
    """Return the rule of that name.

    Raises:
        InvalidArgument: there is none.
    """
    if name not in NAMES:
        near = get_close_matches(str(name), NAMES, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise InvalidArgument(f"got rule {name!r}; wanted one of {', '.join(NAMES)}.{hint}")
    return import_module(f"sightline.audit.lint_rules.{name.replace('-', '_')}").RULE


def all_rules(names: Iterable[str] | None = None) -> tuple[LintRule, ...]:
    """Return the rules of these names, or all, in the order of the list.

    Raises:
        InvalidArgument: there is no rule of a name.
    """
    if names is None:
        return tuple(find_rule(name) for name in NAMES)
    wanted = {find_rule(name).name for name in names}
    return tuple(find_rule(name) for name in NAMES if name in wanted)
