"""A model's fingerprint: who depends on whom in it, measured, as a small file beside a checkpoint.

After an upgrade the same code may mean another mask; ``verify`` measures again and says in words
what changed. The records and the comparison stand here; how it is measured stands in
fingerprints/measuring.py, the file in fingerprints/file.py.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Difference", "Fingerprint", "Part", "fingerprint"]

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Part:
    """Who depends on whom in the whole model, or in one of its layers.

    Attributes:
        name: ``"tokens -> logits"`` for the whole, the module's name for a layer, whose outputs
            are compared with its own inputs.
        mask: the expression of what was measured, as text; empty if none is short.
        depends: bool ``[queries, keys]``, where a change of the key changed the query's output.
        conditions: those under which this was measured.
    """

    name: str
    mask: str
    depends: Bools
    conditions: tuple[str, ...]

    def __str__(self) -> str:
        """Return what it does, in a line."""
        return self.mask or f"a pattern of {int(self.depends.sum())} pairs without a short name"


@dataclass(frozen=True)
class Difference:
    """What changed between two fingerprints, in words.

    Attributes:
        changes: a sentence each; empty if both are the same.
        notes: what else is different, for information: versions of packages, ways of running the
            model that are gone.
    """

    changes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether nothing changed."""
        return not self.changes

    def __str__(self) -> str:
        """Return ``"same"``, or the changes, a line each."""
        if self.same:
            return "same"
        return "\n".join([*self.changes, *(f"note: {each}" for each in self.notes)])


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """The dependencies that were measured in a model, and how to measure them again.

    Attributes:
        subject: what was measured, in words.
        parts: the whole under each condition, then the layers in order of their names.
        sizes: what the inputs were: the name of each, and its shape.
        settings: the arguments of ``fingerprint`` that a later measurement must share.
        notes: what was left out, and why.
        versions: of the packages that took part.
    """

    subject: str
    parts: tuple[Part, ...]
    sizes: dict[str, tuple[int, ...]]
    settings: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return its parts, a line each."""
        lines = [f"{self.subject}, {', '.join(f'{n} {list(s)}' for n, s in self.sizes.items())}"]
        for part in self.parts:
            where = f" ({' / '.join(part.conditions)})" if _several(self, part.name) else ""
            lines.append(f"{part.name}{where}: {part}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON; whatever goes wrong, no half of a file is left.

        Raises:
            OSError: the file cannot be written.
        """
        from sightline.audit.fingerprints.file import as_text
        from sightline.views.files import write_atomically

        write_atomically(path, as_text(self))

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Fingerprint:
        """Read what ``save`` wrote.

        Raises:
            DataError: it is no fingerprint, one of another version, or a damaged one.
            OSError: the file cannot be read.
        """
        from sightline.audit.fingerprints.file import read

        return read(path)

    def verify(self, model: Any, inputs: Any = None) -> Difference:
        """Measure a model in the same way, and say what changed.

        Args:
            model: as for ``sl.fingerprint``.
            inputs: as they were then; needed where they were given then.

        Raises:
            ShapeMismatch: inputs of other shapes than those measured.
            InvalidArgument: the model cannot be run, as for ``sl.fingerprint``.
        """
        from sightline.audit.fingerprints.measuring import measured_again

        return self.compare(measured_again(self, model, inputs))

    def compare(self, other: Fingerprint) -> Difference:
        """Say what is different in another fingerprint, which is the newer one.

        Raises:
            ShapeMismatch: they were measured on inputs of different shapes.

        >>> import numpy as np
        >>> def one(mask, depends):
        ...     part = Part("layers.3", mask, depends, ("eval",))
        ...     return Fingerprint("GPT", (part,), {"tokens": (2, 3)})
        >>> old = one("causal()", np.tri(3, dtype=bool))
        >>> print(old.compare(one("everything()", np.ones((3, 3), dtype=bool))))
        layers.3: was causal(), now everything() (query 0 now depends on key 1, and 2 pairs more)
        >>> print(old.compare(old))
        same
        """
        from sightline.audit.fingerprints.comparing import difference

        return difference(self, other)


def fingerprint(
    model: Any,
    inputs: Any = None,
    *,
    length: int | None = None,
    batch: int | None = None,
    vocab: int | None = None,
    reinitialise: bool = True,
    time_first: bool | None = None,
    dtype: str = "float64",
    name: str = "",
    seed: int = 0,
) -> Fingerprint:
    """Measure who depends on whom in a model: in the whole, and in each of its layers.

    Each position is changed by itself, and what moves is noted: for the whole under each way of
    running the model that ``sl.audit`` knows, and for each member of its outermost
    ``ModuleList``, from the layer's own input to its own output. Takes about ``3 * length /
    batch`` passes for each condition, and as many again for all layers together.

    Args:
        model: a ``torch.nn.Module``, or a function of arrays; what ``sl.audit`` takes.
        inputs: as for ``sl.audit``; None makes them.
        length: the sequence length of inputs that are made; None is beyond every window found. A
            window that is wider than the inputs cannot be seen.
        batch: the number of rows of inputs that are made.
        vocab: how many different tokens there are; None looks at the model or the inputs.
        reinitialise: measure with new random weights, so that the fingerprint tells what the code
            does, whatever a checkpoint's weights hide. False measures with the weights as they are.
        time_first: the tensors are ``[sequence, batch, ...]``; None asks the model.
        dtype: the numbers to run in: float64, float32, or ``"own"``.
        name: what the model is called; None is the name of its class.
        seed: for inputs, weights and changes.

    Raises:
        InvalidArgument: what is given cannot be run, or its outputs are not numbers.

    >>> import sightline as sl, torch
    >>> class Last(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.embed = torch.nn.Embedding(19, 8)
    ...     def forward(self, tokens):
    ...         return self.embed(tokens).cumsum(dim=1)
    >>> print(fingerprint(Last(), length=7, batch=3))
    Last, tokens [3, 7]
    tokens -> output: causal()
    """
    from sightline.audit.fingerprints.measuring import measured

    settings = {
        "length": length,
        "batch": batch,
        "vocab": vocab,
        "reinitialise": reinitialise,
        "time_first": time_first,
        "dtype": dtype,
        "seed": seed,
    }
    return measured(model, inputs, name, settings)


def _several(whole: Fingerprint, name: str) -> bool:
    return sum(part.name == name for part in whole.parts) > 1
