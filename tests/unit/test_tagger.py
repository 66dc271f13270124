"""The tagger: one sentence, one answer, however it is laid out; and what "I saw a saw" proves."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import sightline as sl
from sightline.errors import CannotExpress, InvalidArgument, ShapeMismatch
from sightline.models.tagger import Tagger, TaggerConfig
from sightline.models.tagger_words import COLUMNS, Words

WORDS = Words(("i", "saw", "a", "the", "can", "they"), buckets=41)
TEXT = """They saw the can and I can saw a can .
Saw !
I saw a saw
The saws they saw can not be the saws I saw ."""
SENTENCES: list[list[str]] = [[*line.split()] for line in TEXT.splitlines()]
PROBE = SENTENCES[2]
KINDS: dict[str, dict[str, Any]] = {
    "sinusoidal": {"positions": "sinusoidal"},
    "learned": {"positions": "learned"},
    "rotary": {"positions": "rotary"},
    "none": {"positions": "none"},
    "window": {"positions": "rotary", "mask": sl.window(left=2, right=1)},
    "causal": {"positions": "none", "mask": sl.causal()},
    "chunks": {"positions": "sinusoidal", "mask": sl.chunks(3)},
    "lstm": {"encoder": "lstm", "positions": "none"},
    "gru": {"encoder": "gru", "positions": "none"},
}


def made(dtype: torch.dtype = torch.float32, **options: Any) -> Tagger:
    torch.manual_seed(0)
    sizes = {"width": 24, "heads": 3, "hidden": 20, "word_width": 6, "spelling_width": 4}
    config = {"words": WORDS.size, "tags": 5, "buckets": WORDS.buckets, **sizes, **options}
    model = Tagger(TaggerConfig(**config)).to(dtype).eval()
    # Spread the first weights out, so that what is left out shows.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model


def batch_of(sentences: list[list[str]], side: Any = "right") -> sl.Batch:
    rows = [torch.from_numpy(WORDS.rows(each)) for each in sentences]
    return sl.Batch.from_sequences(rows, side=side)


def run(model: Tagger, batch: sl.Batch) -> list[torch.Tensor]:
    logits = model(batch.tokens, positions=batch.positions, mask=batch.place(model.mask))
    return batch.split(logits)


def alone(model: Tagger, sentence: list[str]) -> torch.Tensor:
    return model(torch.from_numpy(WORDS.rows(sentence))[None])[0]


@pytest.mark.parametrize("side", ["right", "left", "packed"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_sentence_gives_what_it_gives_alone(kind: str, side: str) -> None:
    model = made(**KINDS[kind])
    with torch.no_grad():
        for sentence, found in zip(SENTENCES, run(model, batch_of(SENTENCES, side)), strict=True):
            wanted = alone(model, sentence)
            assert (found - wanted).abs().max() <= 1e-6 * wanted.abs().max().clamp(min=1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sentence_gives_what_it_gives_alone_in_float64(kind: str) -> None:
    model = made(torch.float64, **KINDS[kind])
    for side in ("right", "left", "packed"):
        for sentence, found in zip(SENTENCES, run(model, batch_of(SENTENCES, side)), strict=True):
            assert (found - alone(model, sentence)).abs().max() <= 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_padding_is_inert_nan_included(kind: str) -> None:
    """Number 0 stands only in padding; with NaN for it no bit of a word or of a gradient moves."""
    batch = batch_of(SENTENCES)
    found: list[list[torch.Tensor]] = []
    for spoiled in (False, True):
        model = made(**KINDS[kind])
        if spoiled:
            with torch.no_grad():
                model.word_embedding.weight[0] = torch.nan
                model.spelling_embedding.weight[0] = torch.inf
        logits = torch.cat(run(model, batch))
        loss = logits.logsumexp(-1).sum()
        found.append([logits, *torch.autograd.grad(loss, list(model.parameters()))])
    for clean, dirty in zip(*found, strict=True):
        assert clean.isfinite().all()
        assert torch.equal(clean, dirty)
    assert found[0][1][2:].any()


@pytest.mark.parametrize("side", ["right", "left", "packed"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if "encoder" not in KINDS[kind]])
def test_engines_agree(kind: str, side: str) -> None:
    batch = batch_of(SENTENCES, side)
    found: list[list[torch.Tensor]] = []
    for engine in ("cpu", "sdpa"):
        model = made(engine=engine, **KINDS[kind])
        logits = torch.cat(run(model, batch))
        loss = logits.log_softmax(-1)[:, 2].mean()
        found.append([logits, *torch.autograd.grad(loss, list(model.parameters()))])
    for one, other in zip(*found, strict=True):
        assert (one - other).abs().max() <= 1e-5


# -- "I saw a saw" ------------------------------------------------------------------------------


def saws(model: Tagger) -> tuple[torch.Tensor, torch.Tensor]:
    vectors = model.encode(torch.from_numpy(WORDS.rows(PROBE))[None])[0]
    return vectors[1], vectors[3]


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_without_positions_and_mask_the_two_saws_are_one(layers: int) -> None:
    model = made(torch.float64, positions="none", layers=layers)
    first, second = saws(model)
    assert (first - second).abs().max() <= 1e-12
    for weights in model.attention(torch.from_numpy(WORDS.rows(PROBE))[None]):
        assert (weights[0, :, 1] - weights[0, :, 3]).abs().max() <= 1e-12
        assert (weights[0, :, :, 1] - weights[0, :, :, 3]).abs().max() <= 1e-12


def test_without_positions_the_two_saws_have_the_same_bits() -> None:
    """Where a linear layer rounds every row alike, as SameRows sees to, so does all else."""
    model = made(positions="none", engine="cpu")
    with torch.no_grad(), sl.nn.SameRows():
        first, second = saws(model)
    assert torch.equal(first, second)


def test_without_positions_a_sentence_is_a_bag_of_words() -> None:
    """The reason: the encoder commutes with every permutation of the words."""
    model = made(torch.float64, positions="none")
    tokens = torch.from_numpy(WORDS.rows(SENTENCES[0]))[None]
    order = torch.randperm(tokens.shape[1], generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        assert (model(tokens[:, order]) - model(tokens)[:, order]).abs().max() <= 1e-12


@pytest.mark.parametrize(
    "kind", ["sinusoidal", "learned", "rotary", "causal", "window", "lstm", "gru"]
)
def test_positions_a_causal_mask_or_a_recurrence_tell_them_apart(kind: str) -> None:
    model = made(torch.float64, **KINDS[kind])
    first, second = saws(model)
    assert (first - second).abs().max() > 1e-3
    tokens = torch.from_numpy(WORDS.rows(SENTENCES[0]))[None]
    order = torch.randperm(tokens.shape[1], generator=torch.Generator().manual_seed(4))
    assert (model(tokens[:, order]) - model(tokens)[:, order]).abs().max() > 1e-3


def test_in_a_batch_without_positions_they_are_one_too() -> None:
    model = made(torch.float64, positions="none")
    for side in ("right", "left", "packed"):
        batch = batch_of(SENTENCES, side)
        vectors = batch.split(model.encode(batch.tokens, mask=batch.mask))[2]
        assert (vectors[1] - vectors[3]).abs().max() <= 1e-12


# -- the rest -----------------------------------------------------------------------------------


def test_attention_weights_are_those_of_the_pass() -> None:
    model = made(positions="rotary", mask=sl.window(left=1, right=2))
    tokens = torch.from_numpy(WORDS.rows(SENTENCES[0]))[None]
    layers = model.attention(tokens)
    length = len(SENTENCES[0])
    allowed = torch.from_numpy(model.mask.dense(length)[0, 0])
    assert [list(each.shape) for each in layers] == [[1, 3, length, length]] * 2
    for weights in layers:
        assert not weights[..., ~allowed].any()
        assert (weights.sum(-1) - 1).abs().max() <= 1e-5
    # Weights times values, through the rest of the last layer, give what the encoder gives.
    encoder: Any = model.encoder
    x = model._embed(tokens, None)
    for layer, weights in zip(encoder.layers, layers, strict=True):
        attention = layer.self_attn
        values = torch.nn.functional.linear(
            layer.norm1(x), attention.in_proj_weight[48:], attention.in_proj_bias[48:]
        )
        values = values.unflatten(-1, (3, 8)).transpose(1, 2)
        x = x + attention.out_proj((weights @ values).transpose(1, 2).flatten(2))
        x = x + layer.linear2(torch.relu(layer.linear1(layer.norm2(x))))
    assert (encoder.norm(x) - model.encode(tokens)).abs().max() <= 1e-5


def test_recurrent_encoders_have_no_attention() -> None:
    with pytest.raises(InvalidArgument, match="has no attention"):
        made(**KINDS["gru"]).attention(torch.zeros(1, 3, COLUMNS, dtype=torch.int64))


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_documents_with_gaps_and_of_several_rows(kind: str) -> None:
    """Spans may lie anywhere; what is in none gets the vector of no words, as padding does."""
    model = made(**KINDS[kind])
    tokens = torch.randint(1, 6, (2, 7, COLUMNS), generator=torch.Generator().manual_seed(0))
    ids = [[0, 1, 0, -1, 1, 0, -1], [-1, 2, 2, 2, 0, 0, 5]]
    with torch.no_grad():
        vectors = model.encode(tokens, mask=sl.spans(ids))
        for row, own in enumerate(ids):
            for name in set(own):
                places = [place for place, each in enumerate(own) if each == name]
                wanted = model.encode(tokens[row, places][None])[0] if name >= 0 else 0
                assert (vectors[row, places] - wanted).abs().max() <= 1e-6
        nothing = model.encode(tokens, mask=sl.spans([[-1] * 7]))
    assert not nothing.any()


@pytest.mark.parametrize(
    "mask", [sl.causal(), sl.window(1, 1) & sl.padding(lengths=[2, 3])], ids=repr
)
def test_recurrent_encoders_refuse_masks_that_they_cannot_follow(mask: sl.Mask) -> None:
    with pytest.raises(CannotExpress, match="encoder='lstm'"):
        made(**KINDS["lstm"])(torch.zeros(2, 3, COLUMNS, dtype=torch.int64), mask=mask)
    with pytest.raises(CannotExpress, match="encoder='gru'"):
        TaggerConfig(words=5, tags=2, encoder="gru", positions="none", mask=sl.causal())


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"words": 0}, "words=0"),
        ({"layers": -1}, "layers=-1"),
        ({"width": 25}, "try width=30"),
        ({"width": 27, "heads": 1}, "try width=28"),
        ({"heads": 8, "positions": "rotary"}, "heads of 3 features"),
        ({"positions": "relative"}, "positions='relative'; wanted one of"),
        ({"encoder": "rnn"}, "encoder='rnn'; wanted one of"),
        ({"encoder": "lstm"}, "positions='none'"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        TaggerConfig(**{"words": 9, "tags": 3, "width": 24, "heads": 3, **changed})


@pytest.mark.parametrize(
    "tokens",
    [
        torch.zeros(2, 3, dtype=torch.int64),
        torch.zeros(2, 3, COLUMNS - 1, dtype=torch.int64),
        torch.zeros(2, 3, COLUMNS),
    ],
)
def test_other_tokens_are_refused(tokens: torch.Tensor) -> None:
    with pytest.raises(ShapeMismatch, match=r"make the rows with Words\.rows"):
        made()(tokens)
