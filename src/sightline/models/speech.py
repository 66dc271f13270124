"""What the models of speech frames share: the call, the estimate, and running frame by frame.

A model takes the magnitudes of a noisy recording's frames and gives, for every frame and frequency,
the mapped a-priori SNR as a logit. The models are mhanet.py and speech_rivals.py; frames, targets
and gain are recipes/speech's part.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

from sightline.engines.shared import refuse_shared
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.nn.caches.arguments import as_size
from sightline.nn.layout import read_features
from sightline.nn.valid import clear

__all__ = ["FirstLayer", "SpeechModel", "SpeechStream"]

EPSILON = 1e-6  # of the layer norms, as published


class SpeechModel(nn.Module):
    """A causal model of frames: what frame i gives depends on the frames up to i.

    A model says what ``forward`` computes, which state a stream begins with, and what a few more
    frames make of it. The logit z of a frame and frequency means a mapped SNR of ``sigmoid(z)``,
    so that the loss is the binary cross entropy with logits.

    Attributes:
        bins: frequencies of a frame.
    """

    bins: int

    def forward(self, frames: torch.Tensor, *, valid: Any = None) -> torch.Tensor:
        """Return the logits [batch, length, bins] of frames [batch, length, bins]."""
        raise NotImplementedError

    def new_state(
        self, batch: int, *, max_frames: int | None = None, window: int | None = None
    ) -> Any:
        """Return the state of a stream that has seen nothing; arguments are those of ``stream``."""
        raise NotImplementedError

    def step(self, frames: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        """Return the logits of the next frames [batch, n, bins], and the state behind them."""
        raise NotImplementedError

    def estimate(self, frames: torch.Tensor, **options: Any) -> torch.Tensor:
        """Return the mapped a-priori SNR, between 0 and 1, [batch, length, bins].

        Arguments are those of a call.
        """
        return self(frames, **options).sigmoid()

    def stream(
        self, batch: int = 1, *, max_frames: int | None = None, window: int | None = None
    ) -> SpeechStream:
        """Return a stream: the same model, to be given frames as they come.

        Args:
            batch: how many recordings run side by side.
            max_frames: how many frames one may have, where the model remembers them all: MHANet
                makes room for them at once, ``8 * layers * width`` bytes each in float32. None for
                its learned positions, or 2048 (half a minute). What the rivals remember has one
                size, so that they take any number.
            window: for MHANet: let a frame see this many frames at most, itself included, and keep
                no more than twice as many. The stream has no end then, and equals one pass with
                ``mask=model.mask & sl.window(left=window - 1, right=0)``.

        Raises:
            InvalidArgument: a size below 1, both ``max_frames`` and ``window``, a window for a
                rival, or a model in training that has dropout.
            CannotExpress: the model's mask shows a frame what comes after it.

        >>> import torch
        >>> from sightline.models.speech_rivals import SpeechTCN, SpeechTCNConfig
        >>> model = SpeechTCN(SpeechTCNConfig(bins=9, width=8, bottleneck=4, blocks=3)).eval()
        >>> stream, frames = model.stream(), torch.rand(1, 5, 9)
        >>> pieces = [stream.push(frames[:, :2]), stream.push(frames[:, 2:])]
        >>> torch.allclose(torch.cat(pieces, dim=1), model(frames), atol=1e-5)
        True
        """
        return SpeechStream(self, batch, max_frames=max_frames, window=window)

    def read(self, frames: Any, valid: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the frames with 0 at padding, and which of them are real [batch, length].

        Raises:
            ShapeMismatch: sizes that do not fit.
            InvalidArgument: ``frames`` not floating, ``valid`` not bools.
            InvalidMask: ``valid`` is a mask that asks more than the key.
        """
        refuse_shared(type(self).__name__)
        x, real = read_features(frames, valid, self.bins, "BLD")
        return (x if valid is None else clear(x, real)), real


class SpeechStream:
    """A model that is given frames as they come, and remembers what it needs of those before.

    What it gives is what one pass over all frames gives, to rounding, however they are cut.

    Args:
        model: what runs; its weights are read, never changed.
        batch, max_frames, window: as for ``SpeechModel.stream``.

    Raises:
        InvalidArgument, CannotExpress: as ``SpeechModel.stream``.
    """

    def __init__(
        self,
        model: SpeechModel,
        batch: int,
        *,
        max_frames: int | None = None,
        window: int | None = None,
    ) -> None:
        sizes = {"batch": batch, "max_frames": max_frames, "window": window}
        for name, size in sizes.items():
            if size is not None:
                as_size(size, name)
        if max_frames is not None and window is not None:
            raise InvalidArgument(
                f"got max_frames={max_frames} and window={window}; wanted one of them: a stream "
                "with a window has no end."
            )
        drops = any(isinstance(part, nn.Dropout) and part.p > 0 for part in model.modules())
        if model.training and drops:
            raise InvalidArgument(
                "got a model in training, which drops features at random; wanted one in "
                "evaluation; call model.eval() first."
            )
        self.model, self.batch = model, batch
        self._new_state = partial(model.new_state, batch, max_frames=max_frames, window=window)
        self.frames = 0
        self.state = self._new_state()

    def push(self, frames: torch.Tensor) -> torch.Tensor:
        """Return the logits of the next frames, without gradients.

        Args:
            frames: [batch, n, bins], n of at least 0.

        Returns:
            [batch, n, bins].

        Raises:
            ShapeMismatch: frames of another shape, or another batch.
            InvalidArgument: frames that are no floats, or more than the stream has room for; then
                nothing has changed.
        """
        frames, _ = self.model.read(frames, None)
        if len(frames) != self.batch:
            raise ShapeMismatch(
                f"got frames of {len(frames)} recordings for a stream of {self.batch}; wanted "
                "equal numbers; make the stream with model.stream(batch)."
            )
        if not frames.shape[1]:
            return frames.new_zeros(frames.shape)
        with torch.no_grad():
            logits, self.state = self.model.step(frames, self.state)
        self.frames += frames.shape[1]
        return logits

    def reset(self) -> None:
        """Forget all frames: the next one is the first of a new recording."""
        self.state = self._new_state()
        self.frames = 0

    @property
    def nbytes(self) -> int:
        """The bytes that the state takes. They are the same however long the stream runs."""
        return held_bytes(self.state)

    def __repr__(self) -> str:
        kind = type(self.model).__name__
        return f"SpeechStream({kind}, batch={self.batch}, frames={self.frames})"


class FirstLayer(nn.Module):
    """Frames to features: a linear map without a bias, a layer norm, ReLU.

    Args:
        bins: frequencies of a frame.
        width: features of a frame.
    """

    def __init__(self, bins: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(bins, width, bias=False)
        self.norm = nn.LayerNorm(width, EPSILON)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Return [batch, length, width] of frames [batch, length, bins]."""
        return self.norm(self.linear(frames)).relu()


def held_bytes(state: Any) -> int:
    """Return the bytes of a state: a tensor, a cache, None, or several of these."""
    if state is None:
        return 0
    if isinstance(state, (list, tuple)):
        return sum(held_bytes(part) for part in state)
    return int(state.nbytes)
