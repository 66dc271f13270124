"""What a destination says of itself, and the list of all: a new one is a file and a name here.

The file of ``"torch.sdpa"`` is ``torch_sdpa.py``; it holds the row (``DESTINATION``) and what
makes the form (``translate``). No such file imports its framework before it is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from sightline.masks.named import find_row, rooms

NAMES = (
    "numpy.bool",
    "numpy.additive",
    "torch.sdpa",
    "torch.mha",
    "torch.transformer",
    "torch.flex",
    "torch.varlen",
    "flash_attn",
    "xformers",
    "flashmask",
    "magi",
    "flashinfer",
    "hf.2d",
    "hf.4d",
    "hf.position_ids",
    "xlnet",
    "swin",
    "paddle",
    "jax.dot_product_attention",
    "jax.splash",
    "flax",
    "keras",
    "onnx",
)


@dataclass(frozen=True)
class Destination:
    """A form that a mask can be translated into.

    Attributes:
        name: what to pass as ``to``.
        gives: what comes out.
        expresses: which masks it can say exactly.
        refuses: what makes it raise CannotExpress.
        in_principle: what the destination's own form could say, and why we say less, if we do.
        options: the keyword options of ``lower`` that it takes.
        needs: the package that must be installed; None if none beyond Sightline's own.
        extra: the extra of Sightline that brings that package, or None.
        takes: what it is made from: one mask, or several, each with a name.
        writes_pairs: whether making it takes memory for every pair of query and key.
    """

    name: str
    gives: str
    expresses: str
    refuses: str
    in_principle: str
    options: tuple[str, ...] = ()
    needs: str | None = None
    extra: str | None = None
    takes: tuple[str, ...] = ("mask",)
    writes_pairs: bool = True


def module_of(name: object) -> ModuleType:
    """Return the file of a destination.

    Raises:
        UnknownBackend: no destination of that name.
    """
    return import_module(find_row(rooms(NAMES, "sightline.lower"), name, "destination"))


def rows() -> tuple[Destination, ...]:
    """Return the row of every destination, in the order of the list."""
    return tuple(module_of(name).DESTINATION for name in NAMES)
