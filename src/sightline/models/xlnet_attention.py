"""XLNet's attention: scores by content, by distance and by segment, for its two streams.

The relative terms go to ``attend`` as a bias, so that who may see whom stays a mask and every
engine that takes a bias runs it. The model around it is in xlnet.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from sightline.engines.attend import attend, attention_weights
from sightline.masks.explicit import dense
from sightline.masks.mask import Mask


@dataclass(frozen=True, eq=False)
class Distances:
    """How far each key lies before each query, and where that stands in a table of distances.

    Attributes:
        tabled: [n] the distances of the table's rows, the greatest first.
        places: [1 or batch, q_len, kv_len] each pair's row in the table; None where query i has
            row ``q_len - i + j`` for key j, which needs no table of places.
        kv_len: how many keys there are.
    """

    tabled: torch.Tensor
    places: torch.Tensor | None
    kv_len: int

    @classmethod
    def by_column(cls, length: int, kv_len: int, device: Any) -> Distances:
        """For ``length`` tokens one place apart, with ``kv_len - length`` keys before them.

        >>> distances = Distances.by_column(2, 3, "cpu")
        >>> distances.tabled.tolist()
        [3, 2, 1, 0, -1]
        >>> distances.pick(distances.tabled.expand(1, 1, 2, 5).float())[0, 0].tolist()
        [[1.0, 0.0, -1.0], [2.0, 1.0, 0.0]]
        """
        return cls(torch.arange(kv_len, -length, -1, device=device), None, kv_len)

    @classmethod
    def by_position(cls, query: torch.Tensor, key: torch.Tensor) -> Distances:
        """For tokens at given positions [1 or batch, q_len] and [1 or batch, kv_len]."""
        gaps = query[:, :, None] - key[:, None, :]
        top, low = int(gaps.max()), int(gaps.min())
        tabled = torch.arange(top, low - 1, -1, device=gaps.device)
        return cls(tabled, top - gaps, key.shape[1])

    def of_rows(self, rows: torch.Tensor) -> Distances:
        """Return the same for the queries at ``rows`` [batch, n], in the same table."""
        if self.places is None:
            length = len(self.tabled) - self.kv_len
            columns = torch.arange(self.kv_len, device=rows.device)
            places = length - rows[:, :, None] + columns
        else:
            places = self.places.expand(rows.shape[0], -1, -1)
            places = places.gather(1, rows[:, :, None].expand(-1, -1, self.kv_len))
        return Distances(self.tabled, places, self.kv_len)

    def pick(self, scores: torch.Tensor) -> torch.Tensor:
        """Return each pair's score [.., q_len, kv_len] from those of all rows [.., q_len, n]."""
        if self.places is not None:
            return scores.gather(-1, self.places[:, None].expand(*scores.shape[:3], -1))
        # Query i begins q_len - i rows into its n: read from q_len on, n - 1 at a time.
        length, rows = scores.shape[-2:]
        shifted = scores.flatten(-2)[..., length:].unflatten(-1, (length, rows - 1))
        return shifted[..., : self.kv_len]


@dataclass(frozen=True, eq=False)
class Stream:
    """What one of the two streams has in all layers.

    Attributes:
        mask: which keys (memory first, then the tokens) each of its rows may see.
        q_offset: the position of its first row for that mask.
        distances: how far keys lie before its rows.
        apart: bool [batch, rows, kv_len], whether they are of different segments, or None.
    """

    mask: Mask
    q_offset: int
    distances: Distances
    apart: torch.Tensor | None

    @classmethod
    def of_tokens(
        cls,
        tokens: torch.Tensor,
        positions: torch.Tensor | None,
        segments: torch.Tensor | None,
        mask: Mask,
        past: int,
    ) -> Stream:
        """Return the content stream of tokens [batch, length] behind ``past`` remembered ones.

        Args:
            tokens: of which only the shape counts.
            positions: [batch, length], or None for their columns.
            segments: [batch, length], or None; memory is of segment 0.
            mask: over memory and tokens; token 0 is query and key number ``past``.
            past: how many tokens are remembered.
        """
        batch, length = tokens.shape
        if positions is None:
            distances = Distances.by_column(length, past + length, tokens.device)
        else:
            before = torch.arange(-past, 0, device=tokens.device).expand(batch, -1)
            distances = Distances.by_position(positions, torch.cat([before, positions], dim=1))
        apart = None
        if segments is not None:
            all_segments = torch.cat([segments.new_zeros(batch, past), segments], dim=1)
            apart = segments[:, :, None] != all_segments[:, None, :]
        return cls(mask, past, distances, apart)

    def of_rows(self, rows: torch.Tensor, mask: Mask, length: int) -> Stream:
        """Return the stream of the queries at ``rows`` [batch, n] of this one, under ``mask``.

        Args:
            rows: which of this stream's ``length`` rows.
            mask: what they may see, as of the positions where this stream has them.
            length: how many rows this stream has.
        """
        allowed = mask.dense(length, self.distances.kv_len, q_offset=self.q_offset)
        at = rows.cpu().numpy()[:, None, :, None]
        allowed = np.broadcast_to(allowed, (len(at), *allowed.shape[1:]))
        apart = self.apart
        if apart is not None:
            apart = apart.gather(1, rows[:, :, None].expand(-1, -1, apart.shape[2]))
        return Stream(
            mask=dense(np.take_along_axis(allowed, at, axis=2), means="attend"),
            q_offset=0,
            distances=self.distances.of_rows(rows),
            apart=apart,
        )


class RelativeAttention(nn.Module):
    """Attention whose scores know distances and segments; both streams share its weights.

    Query i and key j score ``(q_i + u) . k_j + (q_i + v) . r_(i-j) + (q_i + w) . s`` times
    ``1 / sqrt(head_dim)``, where r is a projected sinusoid of the distance, s one of two vectors
    (same segment, another one), and u, v, w are learned for each head.

    Source: Dai et al. 2019, "Transformer-XL", section 3.3; Yang et al. 2019, "XLNet", 2.5 and 2.6.
    """

    def __init__(self, width: int, heads: int, dropout: float, engine: str) -> None:
        super().__init__()
        self.heads, self.dropout, self.engine = heads, dropout, engine
        self.head_dim = width // heads
        self.query, self.key, self.value, self.distance, self.out = (
            nn.Linear(width, width, bias=False) for _ in range(5)
        )
        self.content_bias, self.distance_bias, self.segment_bias = (
            nn.Parameter(torch.empty(heads, self.head_dim)) for _ in range(3)
        )
        self.segments = nn.Parameter(torch.empty(2, heads, self.head_dim))

    def split(self, rows: torch.Tensor) -> torch.Tensor:
        """Return [batch, length, width] as [batch, heads, length, head_dim]."""
        return rows.unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2)

    def keys_and_values(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what both streams look at; ``rows`` [batch, kv_len, width]."""
        return self.split(self.key(rows)), self.split(self.value(rows))

    def forward(
        self,
        rows: torch.Tensor,
        seen: tuple[torch.Tensor, torch.Tensor],
        table: torch.Tensor,
        stream: Stream,
    ) -> torch.Tensor:
        """Return what the rows [batch, q_len, width] of a stream attend to, of the same shape.

        Args:
            rows: the stream's.
            seen: ``keys_and_values``.
            table: [n, width] sinusoids of ``stream.distances.tabled``.
            stream: who sees whom, and how far they are apart.
        """
        query = self.split(self.query(rows))
        found = attend(
            query + self.content_bias[:, None],
            *seen,
            stream.mask,
            q_offset=stream.q_offset,
            bias=self._relative(query, table, stream),
            dropout=self.dropout if self.training else 0.0,
            engine=self.engine,
        )
        return self.out(found.transpose(1, 2).flatten(2))

    def weights(
        self,
        rows: torch.Tensor,
        seen: tuple[torch.Tensor, torch.Tensor],
        table: torch.Tensor,
        stream: Stream,
    ) -> torch.Tensor:
        """Return the weights [batch, heads, q_len, kv_len] of ``forward``, to look at."""
        query = self.split(self.query(rows))
        return attention_weights(
            query + self.content_bias[:, None],
            seen[0],
            stream.mask,
            q_offset=stream.q_offset,
            bias=self._relative(query, table, stream),
        )

    def _relative(self, query: torch.Tensor, table: torch.Tensor, stream: Stream) -> torch.Tensor:
        """Return the terms of distance and segment [batch, heads, q_len, kv_len], scaled."""
        scale = self.head_dim**-0.5  # attend scales query . key, and adds a bias as it is
        by_distance = self.split(self.distance(table)[None])
        turned = (query + self.distance_bias[:, None]) * scale
        scores = stream.distances.pick(turned @ by_distance.transpose(-1, -2))
        if stream.apart is None:
            return scores
        turned = (query + self.segment_bias[:, None]) * scale
        same, other = (
            (turned * each[:, None]).sum(-1, keepdim=True) for each in self.segments.unbind()
        )
        return scores + torch.where(stream.apart[:, None], other, same)
