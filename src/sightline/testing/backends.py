"""Sightline's own backends, as the conformance suite asks them: its engines and destinations.

Engine flex is not among them: it would compile for seconds for every case; tests/conformance/
test_flex.py asks it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import ShapeMismatch
from sightline.lower.destinations import module_of
from sightline.lower.lower import lower
from sightline.masks.explicit import dense
from sightline.masks.mask import Mask
from sightline.masks.positional import everything, prefix
from sightline.native import why_missing
from sightline.testing import refusals, runners
from sightline.testing.backend import Backend, Cannot, Floats
from sightline.testing.expanders import added, blocks, calls, ignored, models
from sightline.testing.expanders.shape import Shape

Options = Callable[[Shape], dict[str, Any]]


def _no_options(shape: Shape) -> dict[str, Any]:
    return {}


def _sizes(shape: Shape) -> dict[str, Any]:
    return {"num_heads": shape.heads, "batch": shape.batch}


def _batch(shape: Shape) -> dict[str, Any]:
    return {"batch": shape.batch}


def _one_window(shape: Shape) -> dict[str, Any]:
    return {"grid": (1, shape.q_len), "window": (1, shape.q_len), "shift": 0}


def _destination(
    name: str,
    expand: Callable[[Any, Shape], NDArray[np.bool_]],
    cannot: Cannot | None,
    options: Options = _no_options,
    run: Callable[..., Floats] | None = None,
    lacks: set[str] | None = None,
    refuses: set[str] | None = None,
) -> Backend:
    """Return the backend of a destination: ``lower``, and what its arguments mean."""

    def allowed(mask: Mask, shape: Shape) -> NDArray[np.bool_]:
        made = lower(mask, name, *_lengths(shape), **options(shape))
        return expand(made, shape)

    def attend(query: Floats, key: Floats, value: Floats, mask: Mask, q_offset: int) -> Floats:
        batch, heads, q_len, _ = query.shape
        shape = Shape(batch, heads, q_len, key.shape[2], q_offset)
        made = lower(mask, name, *_lengths(shape), **options(shape))
        assert run is not None
        return run(made, query, key, value)

    return Backend(
        name=name,
        attend=attend if run else None,
        allowed=allowed,
        cannot=cannot,
        lacks=frozenset(lacks or ()),
        refuses=frozenset(refuses or ()),
    )


def _transformer() -> Backend:
    """nn.Transformer with the mask on its memory, and nothing forbidden elsewhere."""
    name = "torch.transformer"

    def allowed(mask: Mask, shape: Shape) -> NDArray[np.bool_]:
        masks = everything(), everything(), mask
        made = lower(masks, name, *_lengths(shape), **_sizes(shape))
        source, target, memory = ignored.transformer(made, shape)
        if not (source.all() and target.all()):
            raise AssertionError("the mask of memory went elsewhere as well")
        return memory

    lacks = frozenset({"empty rows", "offset"})
    return Backend(name, allowed=allowed, cannot=refusals.transformer, lacks=lacks)


def _splash() -> Backend:
    """The splash kernel, whose keys are padded to the width of its blocks and then hidden."""
    name, lanes = "jax.splash", 128

    def allowed(mask: Mask, shape: Shape) -> NDArray[np.bool_]:
        wide = replace(shape, kv_len=lanes)
        padded = mask & prefix(shape.kv_len)
        try:
            made = lower(padded, name, *_lengths(wide), num_heads=shape.heads)
        except ShapeMismatch:  # an array that ends with the keys
            array = mask.dense(*_lengths(shape))
            array = np.pad(array, ((0, 0), (0, 0), (0, 0), (0, lanes - shape.kv_len)))
            made = lower(
                dense(array, means="attend"), name, shape.q_len, lanes, num_heads=shape.heads
            )
        found = calls.jax_splash(made, wide)
        if found[..., shape.kv_len :].any():
            raise AssertionError("padding is seen")
        return found[..., : shape.kv_len]

    refuses = frozenset({"prefixes of two lengths"})
    return Backend(name, allowed=allowed, lacks=frozenset({"empty rows"}), refuses=refuses)


def _lengths(shape: Shape) -> tuple[int, int, int]:
    return shape.q_len, shape.kv_len, shape.q_offset


def _engine(name: str, lacks: set[str] | None = None, refuses: set[str] | None = None) -> Backend:
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

    return Backend(
        name=name,
        attend=forwards,
        gradients=backwards,
        keeps_out=True,
        lacks=frozenset(lacks or ()),
        refuses=frozenset(refuses or ()),
    )


# Drawn cases that no one window says, not even after packing.
_NO_ONE_WINDOW = {
    "a prefix that all see",
    "a query stream",
    "nobody",
    "padding on the right",
    "padding with a hole",
    "prefixes of two lengths",
    "sinks and a window",
}
_ROWS = (
    _engine("cpu"),
    _engine("sdpa"),
    # Where no query sees any key, an engine need not pack.
    _engine("varlen", {"heads"}, _NO_ONE_WINDOW - {"nobody"}),
    _engine("reference"),
    _destination("numpy.bool", added.kept, refusals.never),
    _destination("numpy.additive", added.added, refusals.never),
    _destination("torch.sdpa", added.sdpa, refusals.never, run=runners.sdpa),
    _destination(
        "torch.mha", ignored.mha, refusals.empty_rows, _sizes, runners.mha, {"empty rows"}
    ),
    _transformer(),
    _destination("torch.flex", blocks.flex, refusals.lone_empty_query, run=runners.flex),
    _destination(
        "torch.varlen",
        calls.torch_varlen,
        None,
        _batch,
        lacks={"heads"},
        refuses=_NO_ONE_WINDOW,
    ),
    _destination(
        "flash_attn",
        calls.flash_attn,
        None,
        _batch,
        lacks={"heads"},
        refuses=_NO_ONE_WINDOW,
    ),
    _destination(
        "xformers",
        calls.xformers,
        None,
        _batch,
        lacks={"heads"},
        refuses=_NO_ONE_WINDOW,
    ),
    _destination("flashmask", calls.flashmask, refusals.flashmask, _batch, lacks={"empty rows"}),
    _destination(
        "magi", calls.magi, refusals.one_mask_for_heads, _batch, lacks={"heads"}, refuses={"nobody"}
    ),
    _destination("flashinfer", calls.flashinfer, refusals.heads_only, _batch, lacks={"heads"}),
    _destination(
        "jax.dot_product_attention",
        calls.jax,
        refusals.jax,
        _batch,
        refuses={"padding on the left", "strictly before"},
    ),
    _splash(),
    _destination("flax", calls.flax, refusals.empty_rows, lacks={"empty rows"}),
    _destination("keras", calls.keras, refusals.empty_rows, lacks={"empty rows"}),
    _destination("onnx", calls.onnx, refusals.empty_rows, lacks={"empty rows"}),
    _destination(
        "hf.2d",
        models.hf_2d,
        refusals.hf_2d,
        _batch,
        lacks={"heads", "bidirectional", "documents"},
        refuses={"a window", "sinks and a window", "strictly before", "a query stream"},
    ),
    _destination(
        "hf.4d",
        added.hf_4d,
        refusals.empty_rows,
        run=runners.transformers_eager,
        lacks={"empty rows"},
    ),
    _destination(
        "hf.position_ids",
        models.hf_position_ids,
        refusals.hf_position_ids,
        lacks={"heads", "rectangle", "offset", "bidirectional", "window", "padding", "scattered"},
        refuses={"strictly before"},
    ),
    _destination(
        "xlnet",
        ignored.xlnet,
        refusals.xlnet,
        lacks={"heads", "rectangle", "offset", "empty rows"},
    ),
    _destination(
        "swin",
        models.one_window,
        refusals.one_window,
        _one_window,
        lacks={"heads", "batch", "rectangle", "offset", "empty rows"},
    ),
    _destination("paddle", added.paddle, refusals.paddle, lacks={"empty rows", "many queries"}),
)

BACKENDS: dict[str, Backend] = {backend.name: backend for backend in _ROWS}


# What testing needs beyond what the destination says of itself: to run it, or to try it out.
_NEEDS = {
    "cpu": "torch",
    "sdpa": "torch",
    "varlen": "torch",
    "reference": "torch",
    "hf.4d": "transformers",
    "jax.dot_product_attention": "jax",
}


def why_not(name: str) -> str | None:
    """Return why a backend of ours cannot be tested here, or None if it can."""
    needs = _NEEDS.get(name) or module_of(name).DESTINATION.needs
    if needs is not None and find_spec(needs) is None:
        return f"needs {needs}, which is not installed"
    missing = why_missing() if name == "cpu" else None
    return None if missing is None else f"needs the compiled kernels: {missing}"
