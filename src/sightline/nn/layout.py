"""How a layer over sequences takes its features: [B, L, D], or torch's [B, D, L]; checked once.

Layers compute in [B, L, D]. Which positions are real is read in valid.py.
"""

from __future__ import annotations

from typing import Any, Literal

import torch

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.nn.valid import check_features, read_valid

Layout = Literal["BLD", "BDL"]


def check_layout(layout: Any) -> Layout:
    """Return ``layout`` if it is one.

    Raises:
        InvalidArgument: it is not.
    """
    if layout not in ("BLD", "BDL"):
        raise InvalidArgument(
            f"got layout={layout!r}; wanted 'BLD' for [batch, length, features] or 'BDL' for "
            "[batch, features, length]."
        )
    return layout


def read_features(
    x: Any, valid: Any, channels: int, layout: Layout
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``x`` as [B, L, D], and which of its positions are real, bools [B, L].

    Args:
        x: floats [B, L, D] or [B, D, L], as ``layout`` says.
        valid: True for a real position [B, L], or a padding mask; None where all are real.
        channels: the D that the layer was made for.
        layout: "BLD" or "BDL".

    Raises:
        ShapeMismatch: sizes that do not fit.
        InvalidArgument: ``x`` not floating, ``valid`` not bools.
        InvalidMask: ``valid`` is a mask that asks more than the key.
    """
    x = check_features(x, least=3)
    if x.ndim != 3 or x.shape[1 if layout == "BDL" else 2] != channels:
        wanted = f"batch, {channels}, length" if layout == "BDL" else f"batch, length, {channels}"
        raise ShapeMismatch(
            f"got x of shape {list(x.shape)}; wanted [{wanted}]; transpose(1, 2) swaps the last "
            "two axes, or make the layer with other sizes or another layout."
        )
    x = x.transpose(1, 2) if layout == "BDL" else x
    if valid is None:
        return x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
    return x, read_valid(valid, x.shape[0], x.shape[1], x.device)


def laid_out(x: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Return ``x`` [B, L, D] as the caller wants it."""
    return x.transpose(1, 2) if layout == "BDL" else x
