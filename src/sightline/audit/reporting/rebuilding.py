"""How a model that was audited is built again, as lines of a script (repro.py)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sightline.audit.reporting.literals import name_for

# Fields of a config that say where it came from, not what the model is.
_ORIGINS = (
    "transformers_version", "_name_or_path", "architectures", "dtype", "torch_dtype",
    "_attn_implementation_autoset", "model_type",
)  # fmt: skip


@dataclass(frozen=True)
class Rebuilt:
    """The lines that build a model.

    Attributes:
        imports: what they need.
        lines: what they are; the last one assigns ``model``.
        mapping: the model's outputs are looked up by name.
        whole: they run as they are.
    """

    imports: tuple[str, ...]
    lines: tuple[str, ...]
    mapping: bool = False
    whole: bool = True


def rebuilt(subject: Any) -> Rebuilt:
    """Return how a subject's model is built: by its factory, its config, or its class.

    Args:
        subject: what was audited; its attribute ``source``, ``"module:factory"``, says who made
            the model, if it is there.
    """
    model = subject.model
    source = getattr(subject, "source", "")
    if source:
        return _from_factory(source)
    if hasattr(model, "config") and hasattr(model.config, "to_diff_dict"):
        return _from_config(model)
    return _from_class(model)


def _from_factory(source: str) -> Rebuilt:
    module, _, factory = source.partition(":")
    first = factory.partition(".")[0]
    return Rebuilt(
        (f"from {module} import {first}",),
        (
            f"made = {factory}()",
            "model = made[0] if isinstance(made, tuple) else made",
        ),
    )


def _from_config(model: Any) -> Rebuilt:
    """Return the lines for a model of transformers: its config, written out, and new weights."""
    config = model.config
    fields = {k: v for k, v in config.to_diff_dict().items() if k not in _ORIGINS}
    name = type(config).__name__
    written = ", ".join(f"{key}={value!r}" for key, value in fields.items() if _plain(value))
    whole = all(_plain(value) for value in fields.values())
    return Rebuilt(
        ("import transformers",),
        (
            f"config = transformers.{name}({written})",
            f"model = transformers.{type(model).__name__}(config)",
            "for parameter in model.parameters():  # larger than usual, so that leaks show",
            "    torch.nn.init.normal_(parameter, std=0.3)",
        ),
        mapping=True,
        whole=whole,
    )


def _plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(k, (str, int)) and _plain(v) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def _from_class(model: Any) -> Rebuilt:
    kind = type(model)
    path = kind.__qualname__
    if kind.__module__ == "__main__" or "<locals>" in path:
        return Rebuilt((), (f"model = ...  # {name_for(path)}, as you build it",), whole=False)
    imports = (f"from {kind.__module__} import {path.partition('.')[0]}",)
    try:
        arguments = list(inspect.signature(kind.__init__).parameters.values())[1:]
    except (TypeError, ValueError):
        arguments = []
    if not arguments:
        return Rebuilt(imports, (f"model = {path}()",))
    optional = all(
        each.default is not each.empty or each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        for each in arguments
    )
    inside = "" if optional else "..."
    return Rebuilt(imports, (f"model = {path}({inside})  # as you build it",), whole=False)
