"""Non-local blocks: every place of a feature map looks at the others, and adds what it found.

Attention over places inside a convolutional network; who may see whom is a mask, computed by
``attend``. Masks that are multiplied with features: feature_masks.py, residual_attention.py.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import nn
from torch.nn import functional

from sightline.engines.attend import attend, attention_weights
from sightline.engines.shared import refuse_shared
from sightline.errors import CannotExpress, InvalidArgument, InvalidMask, ShapeMismatch
from sightline.masks.mask import Mask
from sightline.masks.padding import padding
from sightline.masks.positional import everything
from sightline.nn.feature_masks import clear_places, read_places
from sightline.nn.linear import linear
from sightline.nn.soft_masks import SoftMask
from sightline.nn.valid import read_valid

Similarity = Literal["embedded_gaussian", "dot_product"]


class NonLocalBlock(SoftMask):
    """Add to each place what it finds at the others: ``x + W_z (sum of f(x_i, x_j) g(x_j))``.

    With ``similarity="embedded_gaussian"`` the weights are ``softmax over j of theta(x_i) .
    phi(x_j)``, attention with one head and without a factor of the scores; with "dot_product"
    they are ``theta(x_i) . phi(x_j) / N``, N places in all. ``theta``, ``phi``, ``g`` and ``out``
    (W_z) are convolutions of width 1. ``out`` begins at zero, so that a block put into a trained
    network changes nothing at first. Places are numbered row by row.

    Args:
        channels: how many there are, C.
        inner: how many theta, phi and g have; None for half of them (at least 1).
        dims: 2 for images [B, C, H, W], 1 for sequences [B, C, L].
        similarity: "embedded_gaussian" or "dot_product".
        subsample: the keys are the largest values of squares (pieces) of that width, so that
            there are subsample ** dims times fewer; what is left at the far border forms smaller
            ones. 1 leaves every place a key.
        engine: which engine computes attention, as for ``sl.attend``.

    Raises:
        InvalidArgument: sizes below 1, other dims, an unknown similarity.

    Source: Wang et al. 2018, "Non-local Neural Networks", equations 1, 3, 4 and 6 and section 3.3.

    >>> import sightline as sl
    >>> x = torch.randn(2, 8, 5, 3)
    >>> block = NonLocalBlock(8)
    >>> torch.equal(block(x, sl.neighborhood(grid=(5, 3), kernel=3)), x)
    True
    """

    def __init__(
        self,
        channels: int,
        inner: int | None = None,
        dims: Literal[1, 2] = 2,
        similarity: Similarity = "embedded_gaussian",
        subsample: int = 1,
        engine: str = "auto",
        *,
        device: Any = None,
    ) -> None:
        super().__init__()
        inner = max(1, channels // 2) if inner is None else inner
        if min(channels, inner, subsample) < 1 or dims not in (1, 2):
            raise InvalidArgument(
                f"got channels={channels!r}, inner={inner!r}, subsample={subsample!r}, "
                f"dims={dims!r}; wanted numbers of at least 1, and 1 or 2 dimensions."
            )
        if similarity not in get_args(Similarity):
            raise InvalidArgument(
                f"got similarity={similarity!r}; wanted one of {get_args(Similarity)}."
            )
        make = nn.Conv1d if dims == 1 else nn.Conv2d
        self.channels, self.dims, self.similarity = channels, dims, similarity
        self.subsample, self.engine = subsample, engine
        self.theta = make(channels, inner, 1, device=device)
        self.phi = make(channels, inner, 1, device=device)
        self.g = make(channels, inner, 1, device=device)
        self.out = make(inner, channels, 1, device=device)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: torch.Tensor, mask: Mask | None = None, valid: Any = None) -> torch.Tensor:
        """Return ``x`` and what each place found, of its shape; 0 at padding. Frozen, ``x``.

        Args:
            x: floats [B, C, H, W], or [B, C, L] with ``dims=1``.
            mask: which key each place may see, such as ``sl.neighborhood(grid=(H, W), kernel=3)``;
                None for all. With ``subsample`` the keys are the coarser places, row by row. A
                place that may see nothing finds 0. The dot product takes what asks the key alone.
            valid: True for a real place, bools [B, H, W] or [B, L], or for a sequence a padding
                mask; None where all are real. Padding is no key, whatever it holds.

        Raises:
            ShapeMismatch: sizes that do not fit.
            InvalidArgument: ``x`` not floating, ``valid`` not bools.
            InvalidMask: ``mask`` is not a mask; ``valid`` is one that asks more than the key.
            CannotExpress: a mask that the dot product cannot follow.
        """
        refuse_shared("sl.nn.NonLocalBlock")
        if self.frozen:
            return x
        query, key, value, real, keys = self._project(x, valid)
        mask = _checked(mask)
        if self.similarity == "dot_product":
            found = self._by_dot_product(query, key, value, keys, mask)
        else:
            seen = mask if valid is None else mask & _padding(keys)
            q, k, v = (t[:, None] for t in (query, key, value))
            found = attend(q, k, v, seen, scale=1.0, engine=self.engine)[:, 0]
        added = _map(found, self.out).transpose(1, 2).reshape(x.shape)
        return clear_places(x + added, real if valid is not None else None)

    def weights(self, x: torch.Tensor, mask: Mask | None = None, valid: Any = None) -> torch.Tensor:
        """Return the attention weights [B, places, keys] to look at; as ``forward``.

        Raises:
            InvalidArgument: the block compares by the dot product, which has no weights that sum
                to 1; and as for ``forward``.
        """
        if self.similarity == "dot_product":
            raise InvalidArgument(
                "got a block with similarity='dot_product', whose weights are no attention; "
                "wanted 'embedded_gaussian'."
            )
        query, key, _, _, keys = self._project(x, valid)
        mask = _checked(mask)
        seen = mask if valid is None else mask & _padding(keys)
        return attention_weights(query[:, None], key[:, None], seen, scale=1.0)[:, 0]

    def _project(self, x: torch.Tensor, valid: Any) -> tuple[torch.Tensor, ...]:
        """Return theta, phi and g [B, places, inner], real places [B, ...], real keys [B, keys]."""
        x, real = read_places(x, valid, self.channels)
        if x.ndim != self.dims + 2:
            raise ShapeMismatch(
                f"got x of shape {list(x.shape)}; wanted [batch, channels] and {self.dims} more "
                "axes; dims= says how many."
            )
        places = clear_places(x, real).flatten(2).transpose(1, 2)
        query, key, value = (_map(places, each) for each in (self.theta, self.phi, self.g))
        if self.subsample == 1:
            return query, key, value, real, real.flatten(1)
        key, value = (self._pooled(t, real) for t in (key, value))
        keys = self._pool(real[:, None].to(x.dtype)).flatten(1) > 0
        # A square without a real place has -inf as its largest value.
        key, value = (torch.where(keys[..., None], t, t.new_zeros(())) for t in (key, value))
        return query, key, value, real, keys

    def _pooled(self, t: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Return the largest values [B, keys, inner] of the real places of each square."""
        t = t.transpose(1, 2).unflatten(2, real.shape[1:])
        t = torch.where(real[:, None], t, t.new_full((), -torch.inf))
        return self._pool(t).flatten(2).transpose(1, 2)

    def _pool(self, t: torch.Tensor) -> torch.Tensor:
        pool = functional.max_pool1d if self.dims == 1 else functional.max_pool2d
        return pool(t, self.subsample, ceil_mode=True)

    def _by_dot_product(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        keys: torch.Tensor,
        mask: Mask,
    ) -> torch.Tensor:
        """Return ``query (key^T value) / N`` [B, places, inner], N the keys that may be seen."""
        try:
            seen = keys & read_valid(mask, len(keys), keys.shape[1], keys.device)
        except InvalidMask as error:
            raise CannotExpress(
                destination="a non-local block with similarity='dot_product'",
                part=repr(mask),
                reason="its sum over all keys is taken once for all places",
                alternative="similarity='embedded_gaussian', or a mask that asks the key alone",
            ) from error
        key, value = (torch.where(seen[..., None], t, t.new_zeros(())) for t in (key, value))
        many = seen.sum(1).clamp(min=1)[:, None, None]
        return query @ (key.transpose(1, 2) @ value / many)

    def extra_repr(self) -> str:
        """Return how places are compared, for printing."""
        return f"similarity={self.similarity!r}, subsample={self.subsample}"


def _checked(mask: Any) -> Mask:
    if mask is not None and not isinstance(mask, Mask):
        raise InvalidMask(
            f"got mask of type {type(mask).__name__}; wanted a sightline mask, such as "
            "sl.neighborhood(grid=(8, 8), kernel=3), or None; what is padding goes in as valid=."
        )
    return everything() if mask is None else mask


def _padding(keys: torch.Tensor) -> Mask:
    return padding(valid=keys.cpu().numpy())


def _map(x: torch.Tensor, conv: Any) -> torch.Tensor:
    """Return a convolution of width 1 of ``x`` [B, places, in]; a silent place teaches nothing."""
    return linear(x, conv.weight.flatten(1), conv.bias)


__all__ = ["NonLocalBlock"]
