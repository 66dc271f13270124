"""The tagger's encoders against torch's own, with the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import sightline as sl
from sightline.models.tagger import Tagger, TaggerConfig
from sightline.models.tagger_words import COLUMNS

# torch says so of layers for which its fast path is not made, or of how it runs them.
pytestmark = pytest.mark.filterwarnings(
    "ignore:enable_nested_tensor is True:UserWarning",
    "ignore:The PyTorch API of nested tensors:UserWarning",
)

LENGTHS, LONGEST, TAGS = (7, 3, 1, 5), 7, 5
CLOSE = {torch.float32: 1e-5, torch.float64: 1e-10}


def made(dtype: torch.dtype, **options: Any) -> Tagger:
    torch.manual_seed(0)
    sizes = {"width": 24, "heads": 3, "hidden": 40, "layers": 2, "dropout": 0.0}
    config = TaggerConfig(**{"words": 30, "tags": TAGS, "buckets": 50, **sizes, **options})
    return Tagger(config).to(dtype)


def sentences() -> torch.Tensor:
    return torch.randint(1, 30, (len(LENGTHS), LONGEST, COLUMNS), generator=seeded())


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def read(model: Tagger, tokens: torch.Tensor, encode: Any) -> torch.Tensor:
    """The whole tagger in torch's own modules, but for the encoder that is given."""
    spelled = nn.functional.embedding(tokens[:, :, 1:], model.spelling_embedding.weight)
    own = nn.functional.embedding(tokens[:, :, 0], model.word_embedding.weight)
    x = model.norm(model.join(torch.cat([own, spelled.flatten(2)], dim=2)))
    if model.position is not None:
        x = x + model.position(torch.arange(tokens.shape[1])[None]).to(x.dtype)
    return model.head(encode(x))


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("engine", ["cpu", "sdpa"])
@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "none"])
def test_it_is_torchs_transformer_encoder(positions: str, engine: str, dtype: torch.dtype) -> None:
    model = made(dtype, positions=positions, engine=engine)
    layer = nn.TransformerEncoderLayer(24, 3, 40, 0.0, batch_first=True, norm_first=True)
    theirs = nn.TransformerEncoder(layer, 2, nn.LayerNorm(24)).to(dtype)
    theirs.load_state_dict(model.encoder.state_dict())
    batch = sl.Batch.from_lengths(LENGTHS)
    tokens, real = sentences(), batch.valid
    ours = model(tokens, positions=batch.positions, mask=batch.place(model.mask))
    wanted = read(model, tokens, lambda x: theirs(x, src_key_padding_mask=~real))
    apart = (ours - wanted)[real].abs().max()
    assert apart <= CLOSE[dtype], float(apart)
    own = dict(model.named_parameters())
    shared = [own[f"encoder.{name}"] for name, _ in theirs.named_parameters()]
    weights = torch.randn(ours.shape, generator=seeded(), dtype=dtype)
    mine = torch.autograd.grad((ours * weights)[real].sum(), shared)
    given = torch.autograd.grad((wanted * weights)[real].sum(), list(theirs.parameters()))
    for one, other in zip(mine, given, strict=True):
        assert (one - other).abs().max() <= CLOSE[dtype] * max(1.0, float(other.abs().max()))


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("encoder", ["lstm", "gru"])
def test_it_is_torchs_recurrent_layer_on_packed_sequences(encoder: str, dtype: torch.dtype) -> None:
    model = made(dtype, encoder=encoder, positions="none")
    kind = nn.LSTM if encoder == "lstm" else nn.GRU
    theirs = kind(24, 12, num_layers=2, batch_first=True, bidirectional=True).to(dtype)
    theirs.load_state_dict(model.encoder.state_dict())

    def encode(x: torch.Tensor) -> torch.Tensor:
        packed = pack_padded_sequence(x, list(LENGTHS), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(theirs(packed)[0], batch_first=True)[0]

    batch = sl.Batch.from_lengths(LENGTHS)
    tokens, real = sentences(), batch.valid
    ours = model(tokens, mask=batch.mask)
    apart = (ours - read(model, tokens, encode))[real].abs().max()
    assert apart <= CLOSE[dtype], float(apart)
