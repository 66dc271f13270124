"""The list of sources: a new one is a file and a name here. Each is loaded when asked for."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from sightline.masks.named import check_options, find_row, rooms
from sightline.recognize.sources.reading import Read, Source

NAMES = (
    "torch.sdpa",
    "torch.mha",
    "torch.transformer",
    "torch.flex",
    "torch.varlen",
    "flash_attn",
    "hf.2d",
    "hf.4d",
    "hf.position_ids",
    "xlnet",
    "swin",
    "keras",
    "jax.dot_product_attention",
    "flax",
)


def module_of(name: object) -> ModuleType:
    """Return the file of a source.

    Raises:
        UnknownBackend: no source of that name.
    """
    return import_module(find_row(rooms(NAMES, "sightline.recognize.sources"), name, "source"))


def rows() -> tuple[Source, ...]:
    """Return the row of every source, in the order of the list."""
    return tuple(module_of(name).SOURCE for name in NAMES)


def source_of(given: object) -> str | None:
    """Return the source that an object shows by its type, or None; no framework is loaded."""
    for kind in type(given).__mro__:
        if kind.__name__ == "BlockMask" and kind.__module__.startswith("torch.nn.attention"):
            return "torch.flex"
    return None


def read(given: object, name: str, options: dict[str, object]) -> tuple[Read, ...]:
    """Read a library's object: one ``Read`` for each name in the source's ``gives``.

    Raises:
        UnknownBackend: no source of that name.
        InvalidArgument: an option that the source does not have; an object that is not its own.
        ShapeMismatch: sizes that do not fit each other.
    """
    module = module_of(name)
    source: Source = module.SOURCE
    check_options(source.name, options, source.options)
    found = module.read(given, **options)
    return found if isinstance(found, tuple) else (found,)
