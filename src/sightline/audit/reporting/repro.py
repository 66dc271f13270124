"""A finding as a script of its own: it builds the model, changes one key, and looks at one query.

Plain torch, so that it can be pasted into an issue; only the row that leaks is kept. How a model
is built again stands in rebuilding.py, how arrays are written in literals.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from sightline.audit.findings import Finding, Pair
from sightline.audit.probing.feed import Feed, Input
from sightline.audit.probing.subject import Condition
from sightline.audit.probing.visibility import Search
from sightline.audit.reporting.literals import literal, name_for
from sightline.audit.reporting.rebuilding import Rebuilt, rebuilt

# The longest sequence whose tokens are written out; longer ones are made from a seed.
_WRITTEN = 64


def repro(search: Search, finding: Finding) -> str:
    """Return a script that shows a leak: it prints how far the one output moved, or "no change".

    Runs as it is where it is known how the model is made: from ``module:factory`` (the subject's
    ``source``), from a config of transformers, or by a class without arguments. Elsewhere a
    line says "as you build it".

    Args:
        search: the subject, its condition and its inputs.
        finding: a leak of it, with at least one pair.

    Returns:
        The script; empty for what is not a torch module, and without a pair.
    """
    subject = search.runner.subject
    if subject.model is None or not finding.pairs:
        return ""
    pair = finding.pairs[0]
    feed = _feed_of(search, finding)
    model = rebuilt(subject)
    imports = ["import torch", *model.imports]
    changed = _changed(search, finding, feed, pair)
    inputs = [line for each in feed.inputs.values() for line in _input(each, feed, pair.batch)]
    condition = search.runner.condition
    settings, within = _settings(condition)
    given, more = _given(condition, feed, pair.batch)
    if any("np." in line for line in (*inputs, *changed)):
        imports.insert(0, "import numpy as np")
    lines = [
        f"# {finding.contract} forbids it: {finding.output} at {pair.query} reads "
        f"{finding.input} at {pair.key}.",
        *imports,
        "",
        "torch.manual_seed(0)",
        *model.lines,
        *_finished(subject, settings),
        *inputs,
        *more,
        *_run(search, finding, feed, model, (given, within)),
        *changed,
        *_shown(search, finding, feed, pair),
    ]
    return "\n".join(lines) + "\n"


def _feed_of(search: Search, finding: Finding) -> Feed:
    """Return the inputs at the length at which the pair was found."""
    length = search.target.length
    found = length if finding.matrix is None else finding.matrix.allowed.shape[1]
    if found == length:
        return search.feed
    return search.feed.resized(search.feed.batch, found) or search.feed


def _row(each: Input, feed: Feed, row: int) -> Any:
    """Return an input's values for one row; those that have no batch axis as they are."""
    values = each.values
    if isinstance(values, np.ndarray) and values.ndim and len(values) == feed.batch:
        return values[row : row + 1]
    return values


def _input(each: Input, feed: Feed, row: int) -> list[str]:
    """Return the lines that make an input."""
    values, name = _row(each, feed, row), name_for(each.name)
    written = literal(values) if each.kind != "features" else None
    if written is not None and (each.kind != "tokens" or values.shape[1] <= _WRITTEN):
        return [f"{name} = {written}"]
    if not isinstance(values, np.ndarray):
        return [f"{name} = ...  # {each.name}, as you give it"]
    seeded = "np.random.default_rng(0)"
    if values.dtype.kind in "iu":
        most = int(values.max()) + 1 if each.choices is None else int(each.choices.max()) + 1
        return [f"{name} = torch.from_numpy({seeded}.integers(0, {most}, {values.shape}))"]
    return [f"{name} = torch.from_numpy({seeded}.standard_normal({values.shape}))"]


def _changed(search: Search, finding: Finding, feed: Feed, pair: Pair) -> list[str]:
    """Return the lines that change one key."""
    lines: list[str] = []
    features = search.target.features
    for given in finding.input.split(", "):
        each, name = feed.inputs[given], name_for(given)
        where = np.zeros((feed.batch, each.length), dtype=bool)
        where[pair.batch % feed.batch, pair.key] = True
        lines.append(f"changed_{name} = {name}.clone()")
        other = each.changed(where, 7).values[pair.batch % feed.batch, pair.key]
        place = f"0, {pair.key}"
        if each.kind == "tokens" and np.ndim(other) == 0:
            now = each.values[pair.batch % feed.batch, pair.key]
            was = f"  # was {now}" if each.length <= _WRITTEN else ""
            lines.append(f"changed_{name}[{place}] = {int(other)}{was}")
            continue
        if features is not None:
            place += f", ..., {features.start}:{features.stop}"
        lines.append(f"changed_{name}[{place}] = 8.0 - {name}[{place}]")
    return lines


def _settings(condition: Condition) -> tuple[list[str], str]:
    """Return the lines that bring about a condition, and what the run happens in."""
    name = condition.name
    lines, within = [], "torch.no_grad()"
    parts = re.split(r"[,+] *", name)
    for implementation in ("sdpa", "eager", "flex_attention"):
        if implementation in parts:
            lines.append(f'model.set_attn_implementation("{implementation}")')
    if "train" in parts:
        lines.append("model.train()")
    if "train" in parts or "gradients" in name:
        within = "torch.enable_grad()"
    if "sdpa=math" in parts:
        within += ", torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)"
    return lines, within


def _given(condition: Condition, feed: Feed, row: int) -> tuple[dict[str, str], list[str]]:
    """Return the keywords that a condition gives, and the lines that make what is long."""
    given: dict[str, str] = {}
    lines: list[str] = []
    for name, value in condition.given(feed).items():
        written = literal(_row(Input(name, value, "fixed"), feed, row))
        if written is None:
            lines.append(f"{name} = ...  # as under the condition {condition.name}")
        elif isinstance(value, np.ndarray):
            lines.append(f"{name} = {written}")
        given[name] = name if isinstance(value, np.ndarray) or written is None else written
    return given, lines


def _finished(subject: Any, settings: list[str]) -> list[str]:
    """Return the lines that bring a model into its numbers and its mode."""
    numbers = {"float64": "model.double()", "float32": "model.float()"}
    lines = [f"{numbers[subject.dtype]}.eval()" if subject.dtype in numbers else "model.eval()"]
    if getattr(subject, "_options", {}).get("reinitialise"):
        lines += [
            "for parameter in model.parameters():",
            "    torch.nn.init.normal_(parameter, std=0.3)",
        ]
    return lines + settings


def _run(
    search: Search, finding: Finding, feed: Feed, model: Rebuilt, how: tuple[Mapping[str, str], str]
) -> list[str]:
    """Return the lines of a function that runs the model once."""
    given, within = how
    subject = search.runner.subject
    floats = {"float64": ".double()", "float32": ".float()"}.get(subject.dtype, "")
    turned = ".transpose(0, 1)" if getattr(subject, "time_first", False) else ""
    arguments: list[str] = []
    for place, each in enumerate(feed.inputs.values()):
        text = name_for(each.name)
        if isinstance(each.values, np.ndarray):
            text += floats if each.values.dtype.kind == "f" else ""
            text += turned if each.kind != "fixed" else ""
        arguments.append(text if place < feed.positional else f"{each.name}={text}")
    arguments += [f"{name}={text}" for name, text in given.items()]
    names = ", ".join(name_for(name) for name in finding.input.split(", "))
    return [
        "",
        "",
        f"def run({names}):",
        "    torch.manual_seed(0)",
        f"    with {within}:",
        f"        output = model({', '.join(arguments)})",
        *(f"    output = {part}" for part in _picked(finding.output, model)),
        "    return output",
        "",
        "",
    ]


def _picked(output: str, model: Rebuilt) -> list[str]:
    """Return the expressions that take an output out of what a model returns, one after another."""
    if output == "output":
        return []
    found: list[str] = []
    for part in output.split("."):
        if part.isdigit():
            found.append(f"output[{part}]")
        elif model.mapping:
            found.append(f'output["{part}"]')
        else:
            found.append(
                f'output["{part}"] if isinstance(output, dict) else getattr(output, "{part}")'
            )
    return found


def _shown(search: Search, finding: Finding, feed: Feed, pair: Pair) -> list[str]:
    names = [name_for(name) for name in finding.input.split(", ")]
    place = (
        f"{pair.query}, 0"
        if getattr(search.runner.subject, "time_first", False)
        else (f"0, {pair.query}")
    )
    return [
        f"before = run({', '.join(names)})[{place}]",
        f"after = run({', '.join(f'changed_{name}' for name in names)})[{place}]",
        "moved = (after.double() - before.double()).abs().max().item()",
        'print("no change" if torch.equal(before, after) else f"it moved by {moved:.3g}")',
    ]
