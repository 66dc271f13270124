"""models/bert.py, with its heads, against transformers' BertForPreTraining; random weights."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import sightline as sl  # noqa: E402
from sightline.models.bert import BERT  # noqa: E402
from sightline.models.bert_heads import BERTForPreTraining, pretraining_losses  # noqa: E402
from sightline.models.bert_weights import load_pretraining  # noqa: E402

VOCAB, BATCH, LENGTH = 53, 4, 13
LENGTHS = (13, 7, 1, 10)
MASK_TOKEN, PAD_TOKEN = 3, 0


def their_model(kind: str = "BertForPreTraining", **options: Any) -> Any:
    torch.manual_seed(5)
    sizes = {
        "vocab_size": VOCAB,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "hidden_size": 32,
        "intermediate_size": 48,
        "max_position_embeddings": 24,
    }
    config = transformers.BertConfig(**{**sizes, **options})
    model = getattr(transformers, kind)(config).eval()
    with torch.no_grad():
        for weight in model.parameters():  # else logits and attention hardly differ
            weight.mul_(3.0).add_(torch.randn_like(weight), alpha=0.05)
    return model


@pytest.fixture(scope="module")
def theirs() -> Any:
    return their_model()


@pytest.fixture(scope="module")
def ours(theirs: Any) -> BERTForPreTraining:
    return BERTForPreTraining.from_transformers(theirs)


def drawn(most: int = VOCAB, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(most, (BATCH, LENGTH), generator=generator)


def padding() -> tuple[sl.Mask, Any]:
    """Return the same padding in our words and in theirs."""
    mask = sl.padding(lengths=LENGTHS)
    return mask, torch.arange(LENGTH)[None] < torch.tensor(LENGTHS)[:, None]


def labels() -> tuple[Any, Any, Any]:
    """Return their labels, our places and masked tokens, some in each row, none at padding."""
    _, real = padding()
    chosen = ((drawn(seed=3) % 3 == 0) | (torch.arange(LENGTH) == 0)) & real
    theirs = torch.where(chosen, drawn(seed=4), -100)
    return theirs, chosen.flatten().nonzero()[:, 0], drawn(seed=4)[chosen]


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_logits_and_loss(implementation: str, dtype: Any) -> None:
    theirs = their_model(attn_implementation=implementation).to(dtype)
    ours = BERTForPreTraining.from_transformers(theirs)
    mask, real = padding()
    their_labels, places, masked = labels()
    is_random = torch.tensor([0, 1, 1, 0])
    segments = drawn(2, seed=1)
    with torch.no_grad():
        wanted = theirs(
            drawn(),
            attention_mask=real.long(),
            token_type_ids=segments,
            labels=their_labels,
            next_sentence_label=is_random,
        )
        everywhere = ours(drawn(), segments=segments, mask=mask)
        found = ours(drawn(), segments=segments, mask=mask, places=places)
    near = {"atol": 1e-5, "rtol": 0} if dtype == torch.float32 else {"atol": 1e-10, "rtol": 0}
    assert torch.allclose(everywhere.mlm[real], wanted.prediction_logits[real], **near)
    assert torch.allclose(everywhere.nsp, wanted.seq_relationship_logits, **near)
    assert torch.allclose(found.mlm, wanted.prediction_logits.flatten(0, 1)[places], **near)
    assert torch.allclose(sum(pretraining_losses(found, masked, is_random)), wanted.loss, **near)


def test_gradients(ours: BERTForPreTraining, theirs: Any) -> None:
    mask, real = padding()
    their_labels, places, masked = labels()
    is_random = torch.tensor([0, 1, 1, 0])
    tokens = drawn(VOCAB - 1) + 1  # their embedding of token 0 learns nothing
    wanted = theirs(
        tokens, attention_mask=real.long(), labels=their_labels, next_sentence_label=is_random
    ).loss
    found = sum(pretraining_losses(ours(tokens, mask=mask, places=places), masked, is_random))
    grads = torch.autograd.grad(found, list(ours.parameters()))
    their_weights = dict(theirs.named_parameters(remove_duplicate=False))
    their_grads = torch.autograd.grad(wanted, list(their_weights.values()))
    under_our_names = BERTForPreTraining.from_transformers(theirs)
    load_pretraining(under_our_names, dict(zip(their_weights, their_grads, strict=True)))
    named = dict(under_our_names.named_parameters())
    for (name, _), grad in zip(ours.named_parameters(), grads, strict=True):
        assert torch.allclose(grad, named[name], atol=1e-5, rtol=1e-4), name


def test_nothing_said_is_ones_and_zeros_to_the_bit(ours: BERTForPreTraining) -> None:
    nothing_said = ours(drawn())
    said = ours(
        drawn(),
        segments=torch.zeros_like(drawn()),
        positions=torch.arange(LENGTH).expand(BATCH, -1),
        mask=sl.padding(valid=torch.ones(BATCH, LENGTH).numpy()),
    )
    for one, other in zip(nothing_said, said, strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(nothing_said.mlm, ours(drawn(), mask=padding()[0]).mlm)


def test_mask_tokens_are_attended_and_padding_never(ours: BERTForPreTraining, theirs: Any) -> None:
    mask, real = padding()
    tokens = torch.where(real, drawn() % (VOCAB - 4) + 4, PAD_TOKEN)
    tokens[0, 2] = tokens[1, 5] = tokens[3, 9] = MASK_TOKEN
    weights = torch.stack(ours.bert.attention(tokens, mask=mask))  # [layers, batch, heads, Q, K]
    to_keys = weights.permute(1, 4, 0, 2, 3)  # [batch, K, layers, heads, Q]
    assert bool((to_keys[tokens == MASK_TOKEN] > 0).all())
    assert bool((to_keys[~real] == 0).all())
    model = their_model(attn_implementation="eager")
    wanted = model(tokens, attention_mask=real.long(), output_attentions=True).attentions
    for own, their in zip(weights, wanted, strict=True):
        assert torch.allclose(own, their, atol=1e-5)


@pytest.mark.parametrize("pooler", [True, False])
def test_encoder_alone(pooler: bool) -> None:
    theirs = their_model("BertModel" if pooler else "BertForMaskedLM")
    ours = BERT.from_transformers(theirs)
    mask, real = padding()
    with torch.no_grad():
        hidden = ours(drawn(), mask=mask)
        wanted = getattr(theirs, "bert", theirs)(drawn(), attention_mask=real.long())
        assert torch.allclose(hidden[real], wanted.last_hidden_state[real], atol=1e-5, rtol=0)
        if pooler:
            assert torch.allclose(ours.pooled(hidden), wanted.pooler_output, atol=1e-5, rtol=0)
        else:
            with pytest.raises(sl.InvalidArgument, match="pooler"):
                ours.pooled(hidden)


@pytest.mark.parametrize("whole", [True, False])
def test_weights_go_back(whole: bool, theirs: Any) -> None:
    kind = "BertForPreTraining" if whole else "BertModel"
    there = theirs if whole else theirs.bert
    ours = (BERTForPreTraining if whole else BERT).from_transformers(there)
    other = getattr(transformers, kind)(theirs.config).eval()
    missing, unknown = other.load_state_dict(ours.transformers_state(), strict=False)
    assert not missing
    assert not unknown
    with torch.no_grad():
        assert torch.equal(other(drawn())[0], there(drawn())[0])
        assert torch.equal(other(drawn())[1], there(drawn())[1])


@pytest.mark.parametrize(
    "options",
    [
        {"hidden_act": "relu"},
        {"hidden_act": "gelu_new"},
        {"is_decoder": True},
        {"tie_word_embeddings": False},
    ],
)
def test_what_is_not_computed_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(sl.InvalidArgument, match=next(iter(options))):
        BERTForPreTraining.from_transformers(their_model(**options))


def test_weights_of_other_sizes_are_refused(theirs: Any) -> None:
    state = dict(theirs.state_dict())
    name = "bert.encoder.layer.1.attention.self.key.weight"
    state[name] = state[name][:, :-1]
    with pytest.raises(sl.ShapeMismatch, match=r"layer\.1\.attention\.self\.key"):
        load_pretraining(BERTForPreTraining.from_transformers(theirs), state)
