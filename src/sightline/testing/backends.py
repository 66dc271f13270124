"""Sightline's own backends, as the conformance suite asks them: its engines and destinations."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.lower.destinations import module_of
from sightline.lower.lower import lower
from sightline.masks.mask import Mask
from sightline.testing.backend import Backend, Floats
from sightline.testing.expanders import added, ignored, tokens
from sightline.testing.expanders.shape import Shape

Options = Callable[[Shape], dict[str, Any]]


def _no_options(shape: Shape) -> dict[str, Any]:
    return {}


def _sizes(shape: Shape) -> dict[str, Any]:
    return {"num_heads": shape.heads, "batch": shape.batch}


def _batch(shape: Shape) -> dict[str, Any]:
    return {"batch": shape.batch}


def _destination(
    name: str,
    expand: Callable[[Any, Shape], NDArray[np.bool_]],
    options: Options = _no_options,
    **more: Any,
) -> Backend:
    """Return the backend of a destination: ``lower``, and what its arguments mean."""

    def allowed(mask: Mask, shape: Shape) -> NDArray[np.bool_]:
        made = lower(mask, name, shape.q_len, shape.kv_len, shape.q_offset, **options(shape))
        return expand(made, shape)

    return Backend(name=name, allowed=allowed, **more)


def _engine(name: str) -> Backend:
    """Return the backend of an engine of ``attend``."""

    def run(arrays: tuple[Floats, ...], mask: Mask, q_offset: int, grad: bool) -> tuple[Any, Any]:
        import torch

        from sightline.engines.attend import attend

        given = [torch.tensor(array, requires_grad=grad) for array in arrays]
        query, key, value = given
        return attend(query, key, value, mask, q_offset=q_offset, engine=name), given

    def forwards(query: Floats, key: Floats, value: Floats, mask: Mask, q_offset: int) -> Floats:
        return run((query, key, value), mask, q_offset, grad=False)[0].numpy()

    def backwards(
        query: Floats, key: Floats, value: Floats, mask: Mask, q_offset: int, upstream: Floats
    ) -> tuple[Floats, Floats, Floats]:
        output, given = run((query, key, value), mask, q_offset, grad=True)
        output.backward(output.new_tensor(upstream))
        grads = [tensor.grad.numpy() for tensor in given]
        return grads[0], grads[1], grads[2]

    return Backend(name=name, attend=forwards, gradients=backwards, keeps_out=True)


_ROWS = (
    _engine("sdpa"),
    _engine("reference"),
    _destination("numpy.bool", added.kept),
    _destination("numpy.additive", added.added),
    _destination("torch.sdpa", added.sdpa),
    _destination("torch.mha", ignored.mha, _sizes, lacks=frozenset({"empty rows"})),
    _destination(
        "hf.2d",
        tokens.hf_2d,
        _batch,
        lacks=frozenset({"heads", "bidirectional", "documents"}),
        refuses=frozenset({"a window", "sinks and a window", "strictly before", "a query stream"}),
    ),
    _destination("hf.4d", added.hf_4d, lacks=frozenset({"empty rows"})),
    _destination(
        "hf.position_ids",
        tokens.hf_position_ids,
        lacks=frozenset(
            {"heads", "rectangle", "offset", "bidirectional", "window", "padding", "scattered"}
        ),
        refuses=frozenset({"strictly before"}),
    ),
    _destination(
        "xlnet",
        ignored.xlnet,
        lacks=frozenset({"heads", "rectangle", "offset", "empty rows"}),
    ),
    _destination(
        "paddle",
        added.paddle,
        lacks=frozenset({"empty rows", "many queries"}),
    ),
)

BACKENDS: dict[str, Backend] = {backend.name: backend for backend in _ROWS}


def why_not(name: str) -> str | None:
    """Return why a backend of ours cannot be tested here, or None if it can."""
    engines = {"sdpa": "torch", "reference": "torch"}
    needs = engines[name] if name in engines else module_of(name).DESTINATION.needs
    if needs is None or find_spec(needs) is not None:
        return None
    return f"needs {needs}, which is not installed"
