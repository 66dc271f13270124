"""The model of the demo: word vectors, positions and multi-head attention on ``sl.attend``.

The weights are random and seeded, because what a mask does to the numbers does not depend on what
the numbers have learnt (a model that learns is in learning.py). Which mask to use is left to the
callers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

import sightline as sl

__all__ = ["AUTO", "AUTO_DOUBLE", "HEADS", "REFERENCE", "WIDTH", "Layer", "Model", "Way"]

WIDTH, HEADS = 64, 4
_SEED = 2017


@dataclass(frozen=True, slots=True)
class Way:
    """How to compute: the engine, the precision, and whether tokens are projected one by one.

    Token by token, a projection sums in the same order whatever the size of the batch, so two
    runs of different sizes may be compared bit by bit. It is slow, and only the reference
    does it.
    """

    name: str
    engine: str
    dtype: torch.dtype
    token_by_token: bool = False


AUTO = Way("auto, float32", "auto", torch.float32)
AUTO_DOUBLE = Way("auto, float64", "auto", torch.float64)
REFERENCE = Way("reference", "reference", torch.float64, token_by_token=True)


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """Multi-head attention: four weight matrices, each [width, width]."""

    query: Tensor
    key: Tensor
    value: Tensor
    output: Tensor
    way: Way

    def split(self, states: Tensor, weight: Tensor) -> Tensor:
        """Project states [batch, length, width] to heads [batch, heads, length, head width]."""
        batch, length, width = states.shape
        projected = self._project(states, weight)
        return projected.view(batch, length, HEADS, width // HEADS).transpose(1, 2)

    def join(self, heads: Tensor) -> Tensor:
        """Put heads [batch, heads, length, head width] side by side and project them."""
        batch, _, length, _ = heads.shape
        return self._project(heads.transpose(1, 2).reshape(batch, length, -1), self.output)

    def qkv(self, states: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return query, key and value heads; keys and values come from ``memory`` if given."""
        seen = states if memory is None else memory
        return (
            self.split(states, self.query),
            self.split(seen, self.key),
            self.split(seen, self.value),
        )

    def __call__(
        self, states: Tensor, mask: sl.Mask, *, memory: Tensor | None = None, q_offset: int = 0
    ) -> Tensor:
        """Let ``states`` attend to ``memory`` (default: to themselves) under ``mask``."""
        query, key, value = self.qkv(states, memory)
        return self.join(
            sl.attend(query, key, value, mask, q_offset=q_offset, engine=self.way.engine)
        )

    def weights(self, states: Tensor, mask: sl.Mask, *, memory: Tensor | None = None) -> Tensor:
        """Return the attention weights [batch, heads, queries, keys], for looking."""
        query, key, _ = self.qkv(states, memory)
        return sl.attention_weights(query, key, mask)

    def as_torch_module(self) -> torch.nn.MultiheadAttention:
        """Return torch's own module with these weights (its matrices stand on their side)."""
        # The weights that a new module draws are thrown away; leave the caller's randomness alone.
        with torch.random.fork_rng(devices=[]):
            module = torch.nn.MultiheadAttention(WIDTH, HEADS, bias=False, batch_first=True)
        stacked = torch.cat([self.query.T, self.key.T, self.value.T])
        module.load_state_dict({"in_proj_weight": stacked, "out_proj.weight": self.output.T})
        return module

    def _project(self, states: Tensor, weight: Tensor) -> Tensor:
        if not self.way.token_by_token:
            return states @ weight
        rows = states.reshape(-1, states.shape[-1])
        turned = weight.T.contiguous()
        return torch.stack([turned @ row for row in rows]).view(states.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """Word vectors [words, width], positions [length, width] and three attention layers.

    ``encoder`` and ``decoder`` attend to themselves, ``cross`` from the decoder to the encoder.
    The guess for the next word is the word whose vector is most like the output.
    """

    words: Tensor
    positions: Tensor
    encoder: Layer
    decoder: Layer
    cross: Layer
    way: Way

    @classmethod
    def seeded(cls, vocabulary_size: int, length: int, way: Way = AUTO) -> Model:
        """Draw the weights; every ``way`` gets the same ones, rounded to its precision."""
        generator = torch.Generator().manual_seed(_SEED)
        draw = partial(torch.randn, generator=generator, dtype=torch.float64)
        matrices = draw(3, 4, WIDTH, WIDTH) / WIDTH**0.5
        layers = [Layer(*(m.to(way.dtype) for m in four), way=way) for four in matrices]
        words = draw(vocabulary_size, WIDTH).to(way.dtype)
        return cls(words, _positions(length).to(way.dtype), *layers, way=way)

    def embed(self, ids: Tensor) -> Tensor:
        """Return word vector + position for ids [batch, length], [batch, length, width]."""
        return self.words[ids] + self.positions[: ids.shape[-1]]

    def scores(self, states: Tensor) -> Tensor:
        """Return a score for every word, [..., words]."""
        return states @ self.words.T


def _positions(length: int) -> Tensor:
    """Sine and cosine of falling frequency, [length, width] (Vaswani et al. 2017, section 3.5)."""
    place = torch.arange(length, dtype=torch.float64)[:, None]
    frequency = 10_000.0 ** (-torch.arange(0, WIDTH, 2, dtype=torch.float64) / WIDTH)
    angles = place * frequency
    return torch.stack([angles.sin(), angles.cos()], dim=-1).reshape(length, WIDTH)
