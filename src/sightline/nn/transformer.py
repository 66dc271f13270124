"""Stacks of Transformer layers and the encoder-decoder: torch's constructors, calls and names.

One layer each is in transformer_layers.py. Every mask argument takes a tensor in torch's sense
(True forbids, floats are added) or a sightline mask (True = may attend), told apart by its type.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sightline.errors import ShapeMismatch
from sightline.nn.silent import Activation, layer_norm
from sightline.nn.transformer_layers import TransformerDecoderLayer, TransformerEncoderLayer

__all__ = ["Transformer", "TransformerDecoder", "TransformerEncoder"]


class TransformerEncoder(nn.Module):
    """Encoder layers one after the other: torch.nn.TransformerEncoder's place and names.

    Args:
        encoder_layer: the layer, of which ``num_layers`` copies are made.
        num_layers: how many.
        norm: what the output goes through at last, or None.
        enable_nested_tensor: taken for the sake of torch's signature; there is no second path.
        mask_check: likewise.

    >>> import sightline as sl, torch
    >>> layer = sl.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    >>> encoder = sl.nn.TransformerEncoder(layer, 2)
    >>> encoder(torch.randn(2, 5, 8), sl.padding(lengths=[5, 3])).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        encoder_layer: nn.Module,
        num_layers: int,
        norm: nn.Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(deepcopy(encoder_layer) for _ in range(num_layers))
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        src: torch.Tensor,
        mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool | None = None,
        *,
        q_offset: int = 0,
        cache: Any = None,
    ) -> torch.Tensor:
        """Return the last layer's output; arguments as for one layer, ``cache`` a whole chunk.

        ``is_causal`` None says nothing; True holds together with the masks, in every layer.
        """
        x = src
        for index, layer in enumerate(self.layers):
            x = layer(
                x,
                src_mask=mask,
                src_key_padding_mask=src_key_padding_mask,
                is_causal=bool(is_causal),
                **_placed(index, q_offset, cache),
            )
        return _normed(x, self.norm)


class TransformerDecoder(nn.Module):
    """Decoder layers one after the other: torch.nn.TransformerDecoder's place and names.

    Args:
        decoder_layer: the layer, of which ``num_layers`` copies are made.
        num_layers: how many.
        norm: what the output goes through at last, or None.

    >>> import sightline as sl, torch
    >>> layer = sl.nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
    >>> decoder = sl.nn.TransformerDecoder(layer, 2)
    >>> decoder(torch.randn(2, 3, 8), torch.randn(2, 5, 8), sl.causal()).shape
    torch.Size([2, 3, 8])
    """

    def __init__(
        self, decoder_layer: nn.Module, num_layers: int, norm: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(deepcopy(decoder_layer) for _ in range(num_layers))
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: torch.Tensor,
        memory: torch.Tensor,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
        *,
        q_offset: int = 0,
        cache: Any = None,
    ) -> torch.Tensor:
        """Return the last layer's output; arguments as for one layer, ``cache`` a whole chunk."""
        x = tgt
        for index, layer in enumerate(self.layers):
            x = layer(
                x,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=bool(tgt_is_causal),
                memory_is_causal=memory_is_causal,
                **_placed(index, q_offset, cache),
            )
        return _normed(x, self.norm)


class Transformer(nn.Module):
    """The encoder-decoder: torch.nn.Transformer's constructor, call, parameters and names.

    As in torch, nothing is derived: what pads the source must be given for the memory too
    (``memory_key_padding_mask``, or ``memory_mask`` as a sightline mask), or the decoder reads it.

    Args:
        d_model: features.
        nhead: heads.
        num_encoder_layers: layers of the encoder.
        num_decoder_layers: layers of the decoder.
        dim_feedforward: features of the hidden layers.
        dropout: the rate.
        activation: "relu", "gelu" or a function.
        custom_encoder: a module instead of the encoder.
        custom_decoder: a module instead of the decoder.
        layer_norm_eps: what the variance is raised by.
        batch_first: inputs are [batch, length, features]; else [length, batch, features].
        norm_first: norms stand before attention and feed-forward; else after the sums.
        bias: whether linear maps and norms add a bias.
        device: where the parameters live.
        dtype: the parameters' dtype.
        engine: as for ``sl.attend``.

    Source: Vaswani et al. 2017, section 3.

    >>> import sightline as sl, torch
    >>> model = sl.nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
    >>> real = sl.padding(lengths=[5, 2])
    >>> source, target = torch.randn(2, 5, 8), torch.randn(2, 3, 8)
    >>> model(source, target, src_mask=real, tgt_mask=sl.causal(), memory_mask=real).shape
    torch.Size([2, 3, 8])
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Activation = functional.relu,
        custom_encoder: Any = None,
        custom_decoder: Any = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        engine: str = "auto",
    ) -> None:
        super().__init__()
        where = {"device": device, "dtype": dtype}
        sizes = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps)
        ways = {"batch_first": batch_first, "norm_first": norm_first, "engine": engine}
        norm = {"eps": layer_norm_eps, "bias": bias, **where}
        if custom_encoder is None:
            encoder_layer = TransformerEncoderLayer(*sizes, bias=bias, **ways, **where)
            last = nn.LayerNorm(d_model, **norm)
            custom_encoder = TransformerEncoder(encoder_layer, num_encoder_layers, last)
        self.encoder = custom_encoder
        if custom_decoder is None:
            decoder_layer = TransformerDecoderLayer(*sizes, bias=bias, **ways, **where)
            last = nn.LayerNorm(d_model, **norm)
            custom_decoder = TransformerDecoder(decoder_layer, num_decoder_layers, last)
        self.decoder = custom_decoder
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first

    def forward(
        self,
        src: torch.Tensor,
        tgt: torch.Tensor,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> torch.Tensor:
        """Return the decoder's output, laid out as ``tgt``.

        Args:
            src: [batch, S, d_model], or as ``batch_first`` says; one sequence without batch.
            tgt: [batch, T, d_model] likewise.
            src_mask: [S, S] or [batch * nhead, S, S], or a sightline mask.
            tgt_mask: [T, T] or [batch * nhead, T, T], or a sightline mask.
            memory_mask: [T, S] or [batch * nhead, T, S], or a sightline mask.
            src_key_padding_mask: [batch, S], or a sightline mask.
            tgt_key_padding_mask: [batch, T], or a sightline mask.
            memory_key_padding_mask: [batch, S], or a sightline mask.
            src_is_causal: whether no source position sees what comes after.
            tgt_is_causal: the same for the target.
            memory_is_causal: the same for the target's sight of the memory.

        Raises:
            ShapeMismatch: sizes that do not fit.
        """
        for name, tensor in (("src", src), ("tgt", tgt)):
            if tensor.shape[-1] != self.d_model:
                raise ShapeMismatch(
                    f"got {name} of shape {list(tensor.shape)}; wanted {self.d_model} features on "
                    "the last axis, as d_model says."
                )
        memory = self.encoder(
            src,
            mask=src_mask,
            src_key_padding_mask=src_key_padding_mask,
            is_causal=src_is_causal,
        )
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )

    @staticmethod
    def generate_square_subsequent_mask(
        sz: int, device: Any = None, dtype: torch.dtype | None = None
    ) -> torch.Tensor:
        """Return torch's causal mask [sz, sz], 0 and -inf; ``sl.causal()`` says the same."""
        return nn.Transformer.generate_square_subsequent_mask(sz, device=device, dtype=dtype)


def _placed(index: int, q_offset: int, cache: Any) -> dict[str, Any]:
    """Return where a layer's tokens stand, as keywords; none where that is the start."""
    # A layer of another make, as torch allows, does not know these keywords.
    named: dict[str, Any] = {"q_offset": q_offset} if q_offset else {}
    return named if cache is None else {**named, "cache": cache.layer(index)}


def _normed(x: torch.Tensor, norm: nn.Module | None) -> torch.Tensor:
    if norm is None:
        return x
    return layer_norm(x, norm) if type(norm) is nn.LayerNorm else norm(x)
