"""models/unilm.py against transformers' BERT, told each of the four masks as a 4-D tensor."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import sightline as sl  # noqa: E402
from sightline.models.bert_heads import pretraining_losses  # noqa: E402
from sightline.models.unilm import UniLM  # noqa: E402
from sightline.models.unilm_masks import MODES, segment_ids, unilm_mask  # noqa: E402

LENGTHS, SOURCES = (9, 5, 7), (4, 2, 6)
VOCAB = 37


def their_model(dtype: Any) -> Any:
    torch.manual_seed(3)
    config = transformers.BertConfig(
        vocab_size=VOCAB,
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=40,
        max_position_embeddings=16,
        type_vocab_size=6,
    )
    model = transformers.BertForPreTraining(config).eval().to(dtype)
    with torch.no_grad():
        for weight in model.parameters():  # so that nothing is hidden in small weights
            weight.mul_(3.0).add_(torch.randn_like(weight), alpha=0.05)
    return model


def made_batch() -> sl.Batch:
    generator = torch.Generator().manual_seed(1)
    rows = [torch.randint(VOCAB, (length,), generator=generator) for length in LENGTHS]
    return sl.Batch.from_sequences(rows)


def their_call(model: Any, batch: sl.Batch, modes: Any) -> Any:
    """Run it with 0 where a pair may attend and finfo.min where not."""
    allowed = unilm_mask(batch, modes, SOURCES).dense(batch.length)
    allowed = torch.from_numpy(allowed).expand(len(batch), 1, -1, -1)
    added = torch.zeros(allowed.shape, dtype=model.dtype)
    added.masked_fill_(~allowed, torch.finfo(model.dtype).min)
    return model(
        input_ids=batch.tokens,
        token_type_ids=segment_ids(batch, modes, SOURCES),
        attention_mask=added,
    )


@pytest.mark.parametrize("modes", [*MODES, ("seq2seq", "right_to_left", "bidirectional")])
@pytest.mark.parametrize(("dtype", "apart"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_logits_under_every_mask(modes: Any, dtype: Any, apart: float) -> None:
    theirs = their_model(dtype)
    ours = UniLM.from_transformers(theirs)
    batch = made_batch()
    with torch.no_grad():
        found, wanted = ours.read(batch, modes, SOURCES), their_call(theirs, batch, modes)
    real = batch.valid
    scale = float(wanted.prediction_logits[real].abs().max())
    gap = (found.mlm - wanted.prediction_logits)[real].abs().max()
    assert float(gap) <= apart * max(1.0, scale)
    assert torch.allclose(found.nsp, wanted.seq_relationship_logits, atol=apart, rtol=apart)


@pytest.mark.parametrize("mode", MODES)
def test_loss_and_gradients(mode: Any) -> None:
    theirs = their_model(torch.float64)
    ours = UniLM.from_transformers(theirs)
    batch = made_batch()
    places = torch.tensor([1, 3, 10, 13, 19])
    labels = torch.tensor([5, 0, 7, 36, 11])
    follows = torch.tensor([0, 1, 1])
    own = sum(pretraining_losses(ours.read(batch, mode, SOURCES, places=places), labels, follows))
    output = their_call(theirs, batch, mode)
    wanted = torch.nn.functional.cross_entropy(
        output.prediction_logits.flatten(0, 1)[places], labels
    ) + torch.nn.functional.cross_entropy(output.seq_relationship_logits, follows)
    assert torch.allclose(own, wanted, atol=1e-10)
    (found,) = torch.autograd.grad(own, [ours.bert.token_embedding.weight])
    (their,) = torch.autograd.grad(wanted, [theirs.bert.embeddings.word_embeddings.weight])
    # They hold token 0, which is [PAD] by default, back from learning.
    assert torch.allclose(found[1:], their[1:], atol=1e-10)


def test_their_two_dimensional_mask_cannot_say_it() -> None:
    """Only padding fits there; a triangle has to go in with four axes."""
    theirs = their_model(torch.float64)
    batch = made_batch()
    wanted = their_call(theirs, batch, "left_to_right").prediction_logits
    with torch.no_grad():
        padded = theirs(
            input_ids=batch.tokens,
            token_type_ids=segment_ids(batch, "left_to_right"),
            attention_mask=batch.valid.long(),
        ).prediction_logits
    assert not torch.allclose(padded[batch.valid], wanted[batch.valid], atol=1e-3)


def test_their_three_dimensional_mask_is_refused() -> None:
    """BERT's own code takes [batch, queries, keys]; transformers no longer does."""
    theirs = their_model(torch.float64)
    batch = made_batch()
    allowed = unilm_mask(batch, "seq2seq", SOURCES).dense(batch.length)[:, 0]
    with pytest.raises((ValueError, RuntimeError, IndexError)):
        theirs(input_ids=batch.tokens, attention_mask=torch.from_numpy(allowed).long())


def test_too_few_segments_are_refused() -> None:
    config = their_model(torch.float32).config
    config.type_vocab_size = 2
    with pytest.raises(sl.InvalidArgument, match="segments=2"):
        UniLM.from_transformers(transformers.BertForPreTraining(config))
