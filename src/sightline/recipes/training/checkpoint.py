"""The state of a training run as one safetensors file: weights, the optimizer's memory, counts.

safetensors carries tensors and text, never code. Files appear whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sightline.errors import DataError
from sightline.views.files import write_atomically

__all__ = [
    "Counts",
    "load_state",
    "load_weights",
    "read_counts",
    "save_state",
    "save_weights",
    "state_of",
    "write_state",
]

_MODEL, _OPTIMIZER = "model.", "optimizer."
_COUNTS = "sightline.counts"


@dataclass(frozen=True)
class Counts:
    """How far a run is.

    Attributes:
        step: updates done.
        seconds: of wall clock so far, over all sittings.
        cpu_seconds: of all threads of this process so far.
        best_step: the step of the best evaluation, or None before the first.
        best: its figure.
    """

    step: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    best_step: int | None = None
    best: float | None = None


def save_state(
    path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, counts: Counts
) -> None:
    """Write weights, the optimizer's memory and ``counts``, atomically."""
    write_state(path, state_of(model, optimizer), counts)


def state_of(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return weights and the optimizer's memory under the names that they have in a file."""
    tensors = {_MODEL + name: tensor for name, tensor in model.state_dict().items()}
    for index, memory in optimizer.state_dict()["state"].items():
        for name, value in memory.items():
            if value is not None:
                tensors[f"{_OPTIMIZER}{index}.{name}"] = torch.as_tensor(value)
    return tensors


def write_state(path: Path, tensors: Mapping[str, torch.Tensor], counts: Counts) -> None:
    """Write tensors under their names, atomically."""
    from safetensors.torch import save

    # Tied weights share memory, which the format has no word for: each name gets its own copy.
    apart = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    write_atomically(path, save(apart, metadata={_COUNTS: json.dumps(vars(counts))}))


def load_state(path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Counts:
    """Read what ``save_state`` wrote into a model and an optimizer; return the counts.

    Raises:
        DataError: a file that is damaged, or of another model.
    """
    tensors, counts = _read(path)
    _into(model, _below(tensors, _MODEL), path)
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in _below(tensors, _OPTIMIZER).items():
        index, _, field = name.partition(".")
        state.setdefault(int(index), {})[field] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    return counts


def save_weights(path: Path, model: torch.nn.Module, counts: Counts) -> None:
    """Write the weights alone, atomically."""
    weights = {_MODEL + name: tensor for name, tensor in model.state_dict().items()}
    write_state(path, weights, counts)


def load_weights(path: Path, model: torch.nn.Module) -> Counts:
    """Read weights (of ``save_weights`` or ``save_state``) into a model; return the counts.

    Raises:
        DataError: no such file, or one that is damaged, or of another model.
    """
    tensors, counts = _read(path)
    _into(model, _below(tensors, _MODEL), path)
    return counts


def read_counts(path: Path) -> Counts:
    """Return how far the run was that wrote this file.

    Raises:
        DataError: no such file, or one that is damaged.
    """
    with _opened(path) as (_, counts):
        return counts


def _read(path: Path) -> tuple[dict[str, torch.Tensor], Counts]:
    with _opened(path) as (file, counts):
        return {name: file.get_tensor(name) for name in file.keys()}, counts  # noqa: SIM118


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Counts]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise DataError("got no such file; wanted a checkpoint; train first.", path=str(path))
    try:
        with safe_open(path, framework="pt") as file:
            yield file, Counts(**json.loads(file.metadata()[_COUNTS]))
    except (SafetensorError, TypeError, KeyError, ValueError) as error:
        raise DataError(
            f"got a damaged or foreign file ({error}); wanted a checkpoint that "
            "`sightline train` wrote; train again with --fresh.",
            path=str(path),
        ) from error


def _below(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {
        name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)
    }


def _into(model: torch.nn.Module, weights: Mapping[str, Any], path: Path) -> None:
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise DataError(
            f"got weights of another model ({str(error).splitlines()[-1].strip()}); wanted those "
            "of the settings in run.json; use the run's own folder, or train with --fresh.",
            path=str(path),
        ) from error
