"""The LogSparse Transformer: a decoder of time series whose queries and keys are convolutions.

Who sees whom is a mask like any other (``sl.log_sparse``, ``sl.causal``). Inputs, the distribution
of a step and drawing the future are in forecasting.py, training in recipes/forecast.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sightline.engines.attend import attend, attention_weights
from sightline.engines.registry import check_engine
from sightline.engines.shared import refuse_shared
from sightline.errors import InvalidArgument
from sightline.masks.mask import Mask
from sightline.masks.sparse import log_sparse
from sightline.models.config_checks import check_heads, check_rates, check_sizes
from sightline.models.forecasting import Gaussian, GaussianHead, StepInputs
from sightline.nn.batch import Batch
from sightline.nn.convolution import CausalConv1d
from sightline.nn.kv_cache import KVCache
from sightline.nn.valid import clear

__all__ = ["ConvolutionalAttention", "LogSparseConfig", "LogSparseState", "LogSparseTransformer"]


@dataclass(frozen=True)
class LogSparseConfig:
    """The sizes of a LogSparse Transformer, and who may see whom.

    Attributes:
        covariates: numbers that are known of each step, of the future too.
        series: how many series there are.
        layers: how many layers.
        heads: attention heads of a layer.
        width: features of a step, a multiple of ``heads``.
        hidden: features between the two layers of the feed-forward part.
        kernel: how many steps a query and a key are made of; 1 is the usual attention.
        context: the most steps, of history and future together.
        embedded: features of a position's vector, and of a series'.
        dropout: the rate of dropout in training.
        epsilon: of the layer norms.
        mask: who may see whom; ``sl.causal()`` for all of the past.
        engine: which engine computes attention, as for ``sl.attend``.

    Raises:
        InvalidArgument: sizes that do not fit.
        UnknownBackend: no engine of that name.
    """

    covariates: int = 0
    series: int = 1
    layers: int = 3
    heads: int = 8
    width: int = 64
    hidden: int = 256
    kernel: int = 6
    context: int = 512
    embedded: int = 20
    dropout: float = 0.0
    epsilon: float = 1e-5
    mask: Mask = field(default_factory=log_sparse)
    engine: str = "auto"

    def __post_init__(self) -> None:
        check_sizes(
            self, "series", "layers", "heads", "width", "hidden", "kernel", "context", "embedded"
        )
        check_sizes(self, "covariates", least=0)
        check_rates(self, "dropout")
        check_engine(self.engine)
        check_heads(self)


class LogSparseState:
    """What has been read: keys and values of all layers, and the last inputs of convolutions."""

    def __init__(self, cache: KVCache, layers: int) -> None:
        self.cache = cache
        self.last: list[tuple[torch.Tensor | None, torch.Tensor | None]] = [(None, None)] * layers

    def fork(self, times: int) -> None:
        """Make so many copies of each row, next to each other."""
        self.cache.fork(times)
        for layer, (query, key) in enumerate(self.last):
            if query is not None and key is not None:
                self.last[layer] = (
                    query.repeat_interleave(times, 0),
                    key.repeat_interleave(times, 0),
                )


@dataclass
class _Pass:
    """What all layers of one pass share."""

    mask: Mask
    q_offset: int
    valid: torch.Tensor | None
    dropout: float
    state: LogSparseState | None
    chunk: Any
    weights: list[torch.Tensor] | None  # where each layer leaves its weights, if asked


class ConvolutionalAttention(nn.Module):
    """Self-attention whose queries and keys look at the last ``kernel`` steps.

    Shapes of the curve are compared, not single points. Values are of one step each. With
    kernel=1 it is the usual attention: torch.nn.MultiheadAttention with the same weights.

    Args:
        width: features of a step.
        heads: attention heads.
        kernel: how many steps, the own one and those before it.
        engine: as for ``sl.attend``.

    Source: Li et al. 2019, section 4.1.
    """

    def __init__(self, width: int, heads: int, kernel: int, engine: str = "auto") -> None:
        super().__init__()
        self.heads, self.engine = heads, engine
        self.query = CausalConv1d(width, width, kernel)
        self.key = CausalConv1d(width, width, kernel)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, step: _Pass, layer: int) -> torch.Tensor:
        """Return what each step [batch, length, width] sees of the others, of the same shape."""
        if step.state is None:
            query, key = self.query(x, step.valid), self.key(x, step.valid)
        else:
            before = step.state.last[layer]
            (query, first), (key, second) = (
                conv.stream(x, last)
                for conv, last in zip((self.query, self.key), before, strict=True)
            )
            step.state.last[layer] = (first, second)
        query, key, value = (
            each.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for each in (query, key, self.value(x))
        )
        if step.chunk is not None:
            key, value = step.chunk.layer(layer).append(key, value)
        if step.weights is not None:
            step.weights.append(attention_weights(query, key, step.mask, q_offset=step.q_offset))
        seen = attend(
            query,
            key,
            value,
            step.mask,
            q_offset=step.q_offset,
            dropout=step.dropout,
            engine=self.engine,
        )
        return self.out(seen.transpose(1, 2).flatten(2))


class _Block(nn.Module):
    """Attention and a feed-forward part, each after a layer norm and beside a residual."""

    def __init__(self, config: LogSparseConfig) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(config.width, config.epsilon)
        self.attention = ConvolutionalAttention(
            config.width, config.heads, config.kernel, config.engine
        )
        self.norm_2 = nn.LayerNorm(config.width, config.epsilon)
        self.up = nn.Linear(config.width, config.hidden)
        self.down = nn.Linear(config.hidden, config.width)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor, step: _Pass, layer: int) -> torch.Tensor:
        """Return the steps [batch, length, width] after this block."""
        x = x + self.drop(self.attention(self.norm_1(x), step, layer))
        return x + self.drop(self.down(functional.gelu(self.up(self.norm_2(x)))))


class LogSparseTransformer(nn.Module):
    """A forecaster: each step's distribution, from the values before it.

    Args:
        config: the sizes and the mask.

    Source: Li et al. 2019, "Enhancing the Locality and Breaking the Memory Bottleneck of
    Transformer on Time Series Forecasting" (arXiv 1907.00235), sections 3 and 4. The norms stand
    first (Xiong et al. 2020, figure 1), so that training needs no long warm-up.

    >>> import sightline as sl, torch
    >>> from sightline.models.log_sparse_transformer import LogSparseConfig, LogSparseTransformer
    >>> config = LogSparseConfig(width=16, heads=2, hidden=32, kernel=3, mask=sl.log_sparse())
    >>> model = LogSparseTransformer(config)
    >>> values = torch.randn(2, 9)  # the value before each step
    >>> model(values).mean.shape
    torch.Size([2, 9])
    """

    def __init__(self, config: LogSparseConfig) -> None:
        super().__init__()
        self.config = config
        self.inputs = StepInputs(
            config.covariates, config.series, config.context, config.embedded, config.width
        )
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, config.epsilon)
        self.head = GaussianHead(config.width)

    @property
    def mask(self) -> Mask:
        """Who may see whom, where a call says nothing else."""
        return self.config.mask

    def forward(
        self,
        values: torch.Tensor,
        covariates: torch.Tensor | None = None,
        *,
        series: torch.Tensor | None = None,
        valid: torch.Tensor | None = None,
        mask: Mask | None = None,
        state: LogSparseState | None = None,
    ) -> Gaussian:
        """Return the distribution of each step.

        Args:
            values: floats [batch, length]: of each step the value before it, 0 before the first.
            covariates: floats [batch, length, covariates], of the step itself.
            series: int64 [batch], which series each row is of; None for 0.
            valid: bool [batch, length], True for a real step; padding on one side, which may
                hold anything, NaN too. Positions count from a row's first real step.
            mask: over the positions of a series, instead of the configuration's.
            state: what ``start`` returned, and earlier calls went on with: ``values`` are then
                the next steps. Without gradients, and without ``valid``.

        Returns:
            Means and scales [batch, length]; what stands at padding means nothing.

        Raises:
            ShapeMismatch: sizes that do not fit, or more steps than ``context``.
            InvalidArgument: ``valid`` with gaps, or together with ``state``.
        """
        return self.head(self.norm(self._run(values, covariates, series, valid, mask, state)))

    def attention_weights(
        self,
        values: torch.Tensor,
        covariates: torch.Tensor | None = None,
        *,
        series: torch.Tensor | None = None,
        mask: Mask | None = None,
    ) -> list[torch.Tensor]:
        """Return each layer's weights [batch, heads, length, length], to look at."""
        weights: list[torch.Tensor] = []
        self._run(values, covariates, series, None, mask, None, weights)
        return weights

    def start(self, batch: int, steps: int) -> LogSparseState:
        """Return the state of so many rows before their first step, with room for ``steps``."""
        config, like = self.config, self.norm.weight
        cache = KVCache(
            config.layers,
            batch,
            config.heads,
            steps,
            config.width // config.heads,
            dtype=like.dtype,
            device=like.device,
        )
        return LogSparseState(cache, config.layers)

    def _run(
        self,
        values: torch.Tensor,
        covariates: torch.Tensor | None,
        series: torch.Tensor | None,
        valid: torch.Tensor | None,
        mask: Mask | None,
        state: LogSparseState | None,
        weights: list[torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Return the features behind the last layer."""
        refuse_shared("LogSparseTransformer")
        mask = self.config.mask if mask is None else mask
        positions, placed, chunk = self._places(values, mask, valid, state)
        if valid is not None:
            values = clear(values, valid)
            covariates = None if covariates is None else clear(covariates, valid)
        step = _Pass(
            mask=placed,
            q_offset=0 if chunk is None else chunk.q_offset,
            valid=valid,
            dropout=self.config.dropout if self.training else 0.0,
            state=state,
            chunk=chunk,
            weights=weights,
        )
        x = self.inputs(values, covariates, series, positions)
        for layer, block in enumerate(self.blocks):
            x = block(x, step, layer)
        return x

    @staticmethod
    def _places(
        values: torch.Tensor,
        mask: Mask,
        valid: torch.Tensor | None,
        state: LogSparseState | None,
    ) -> tuple[torch.Tensor, Mask, Any]:
        """Return where steps stand, the mask over this tensor, and where keys are written."""
        if state is not None:
            if valid is not None:
                raise InvalidArgument(
                    "got valid= together with state=; wanted rows without padding; group the "
                    "series by their lengths."
                )
            chunk = state.cache.extend(values.shape[1])
            return chunk.positions, chunk.mask(mask), chunk
        if valid is not None:
            batch = Batch.from_padded(values, valid=valid)
            return batch.positions.to(values.device), batch.place(mask), None
        return torch.arange(values.shape[1], device=values.device)[None], mask, None
