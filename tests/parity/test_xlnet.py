"""models/xlnet.py against transformers' XLNetLMHeadModel, with random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import sightline as sl  # noqa: E402
from sightline.models.xlnet import XLNet  # noqa: E402

VOCAB, WIDTH, BATCH, LENGTH, TARGETS, PAST = 53, 24, 3, 11, 5, 7


def their_model(dtype: Any = torch.float32, **options: Any) -> Any:
    sizes = {"vocab_size": VOCAB, "d_model": WIDTH, "n_layer": 3, "n_head": 4, "d_inner": 40}
    torch.manual_seed(5)
    config = transformers.XLNetConfig(**{**sizes, "dropout": 0.0, **options})
    model = transformers.XLNetLMHeadModel(config).eval().to(dtype)
    with torch.no_grad():
        for weight in model.parameters():  # so that scores and logits differ
            weight.mul_(4.0).add_(torch.randn_like(weight), alpha=0.05)
    return model


@pytest.fixture(scope="module")
def theirs() -> Any:
    return their_model()


@pytest.fixture(scope="module")
def ours(theirs: Any) -> XLNet:
    return XLNet.from_transformers(theirs)


def drawn() -> dict[str, Any]:
    """Tokens, an order for each row, targets that see something, segments, earlier tokens."""
    rng = np.random.default_rng(1)
    orders = np.stack([rng.permutation(LENGTH) for _ in range(BATCH)])
    whole = {
        "tokens": rng.integers(VOCAB, size=(BATCH, LENGTH)),
        "segments": rng.integers(3, size=(BATCH, LENGTH)),
        "past": rng.integers(VOCAB, size=(BATCH, PAST)),
        "targets": orders[:, 3 : 3 + TARGETS],
    }
    return {name: torch.tensor(each) for name, each in whole.items()} | {"orders": orders}


def as_perm_mask(mask: sl.Mask) -> Any:
    """Theirs: 1 where the query stream may not look."""
    return torch.tensor(~mask.dense(LENGTH)[:, 0]).float()


def as_mapping(targets: Any) -> Any:
    return torch.nn.functional.one_hot(targets, LENGTH).float()


def close(found: Any, wanted: Any, atol: float = 1e-5) -> bool:
    assert found.shape == wanted.shape
    assert wanted.abs().max() > 0.1
    return torch.allclose(found, wanted, atol=atol, rtol=0)


@pytest.mark.parametrize(
    "options",
    [{}, {"ff_activation": "relu"}, {"ff_activation": "gelu_new"}, {"clamp_len": 4}],
    ids=repr,
)
@torch.no_grad()
def test_plain_pass(options: dict[str, Any]) -> None:
    theirs = their_model(**options)
    tokens = drawn()["tokens"]
    assert close(XLNet.from_transformers(theirs)(tokens), theirs(tokens).logits)


@pytest.mark.parametrize("engine", ["cpu", "sdpa", "reference"])
@torch.no_grad()
def test_two_streams(theirs: Any, engine: str) -> None:
    ours = XLNet.from_transformers(theirs, engine=engine)
    given = drawn()
    query_mask = sl.permutation(given["orders"], stream="query")
    found = ours.read(
        given["tokens"], mask=sl.permutation(given["orders"]), targets=given["targets"]
    )
    wanted = theirs.transformer(
        given["tokens"],
        perm_mask=as_perm_mask(query_mask),
        target_mapping=as_mapping(given["targets"]),
        output_hidden_states=True,
    )
    assert close(found.query, wanted.last_hidden_state)
    assert close(found.content, wanted.hidden_states[-2])
    for layer, each in enumerate(found.inputs):  # their record: content, query, content, ...
        assert close(each, wanted.hidden_states[2 * layer]), layer


@torch.no_grad()
def test_lowered_mask_is_what_they_take(theirs: Any, ours: XLNet) -> None:
    given = drawn()
    order, targets = given["orders"][0], given["targets"][:1]
    lowered = sl.lower(
        sl.permutation(order, stream="query"),
        to="xlnet",
        q_len=LENGTH,
        targets=targets[0].tolist(),
    )
    found = ours(given["tokens"][:1], mask=sl.permutation(order), targets=targets)
    assert close(found, theirs(given["tokens"][:1], **lowered).logits)


@torch.no_grad()
def test_a_query_mask_that_sees_the_target_itself(theirs: Any, ours: XLNet) -> None:
    """Their default without a perm_mask: the query stream sees everything."""
    given = drawn()
    wanted = theirs(given["tokens"], target_mapping=as_mapping(given["targets"])).logits
    everything = sl.everything()
    found = ours(given["tokens"], targets=given["targets"], query_mask=everything)
    assert close(found, wanted)
    assert not close(ours(given["tokens"], targets=given["targets"]), wanted)


@torch.no_grad()
def test_padding(theirs: Any, ours: XLNet) -> None:
    given, lengths = drawn(), [11, 6, 8]
    real = sl.padding(lengths=lengths)
    valid = torch.tensor(real.dense(1, LENGTH)[:, 0, 0])
    wanted = theirs(given["tokens"], input_mask=1.0 - valid.float()).logits
    assert close(ours(given["tokens"], mask=real)[valid], wanted[valid])
    targets = torch.tensor([[2, 10, 4, 0], [5, 1, 3, 2], [7, 0, 6, 1]])
    mask = sl.permutation(given["orders"]) & real
    query_mask = sl.permutation(given["orders"], stream="query")
    wanted = theirs(
        given["tokens"],
        perm_mask=as_perm_mask(query_mask),
        input_mask=1.0 - valid.float(),
        target_mapping=as_mapping(targets),
    ).logits
    found = ours(given["tokens"], mask=mask, targets=targets)
    blind = (query_mask & real).empty_rows(LENGTH)[:, 0]
    sees = ~torch.tensor(np.take_along_axis(blind, targets.numpy(), axis=1))
    assert int(sees.sum()) >= 9
    assert close(found[sees], wanted[sees])


@torch.no_grad()
def test_segments(theirs: Any, ours: XLNet) -> None:
    given = drawn()
    wanted = theirs(given["tokens"], token_type_ids=given["segments"]).logits
    assert close(ours(given["tokens"], segments=given["segments"]), wanted)
    assert not close(ours(given["tokens"]), wanted, 1e-2)


@torch.no_grad()
def test_memory(theirs: Any, ours: XLNet) -> None:
    given = drawn()
    remembered = theirs(given["past"], use_mems=True).mems
    memory = ours.read(given["past"]).memory()
    for found, wanted in zip(memory, remembered, strict=True):
        assert torch.allclose(found, wanted.transpose(0, 1), atol=1e-5, rtol=0)
    query_mask = sl.permutation(given["orders"], stream="query")
    their_words = {
        "perm_mask": as_perm_mask(query_mask),
        "target_mapping": as_mapping(given["targets"]),
        "token_type_ids": given["segments"],
    }
    our_words = {
        "mask": sl.permutation(given["orders"]),
        "targets": given["targets"],
        "segments": given["segments"],
    }
    wanted = theirs(given["tokens"], mems=remembered, **their_words).logits
    found = ours(given["tokens"], memory=memory, **our_words)
    assert close(found, wanted)
    assert not close(ours(given["tokens"], **our_words), wanted, 1e-2)


@pytest.mark.parametrize("options", [{"mem_len": 4}, {"mem_len": 9, "reuse_len": 3}], ids=repr)
@torch.no_grad()
def test_what_is_remembered(options: dict[str, int]) -> None:
    theirs = their_model(**options)
    ours, given = XLNet.from_transformers(theirs), drawn()
    sizes = {"length": options["mem_len"], "reuse": options.get("reuse_len")}
    memory = ours.read(given["past"]).memory(**sizes)
    remembered = theirs(given["past"], use_mems=True).mems
    for _ in range(2):
        assert [len(each) for each in remembered] == [each.shape[1] for each in memory]
        for found, wanted in zip(memory, remembered, strict=True):
            assert torch.allclose(found, wanted.transpose(0, 1), atol=1e-5, rtol=0)
        remembered = theirs(given["tokens"], mems=remembered, use_mems=True).mems
        memory = ours.read(given["tokens"], memory=memory).memory(**sizes, before=memory)


@torch.no_grad()
def test_causal_kind() -> None:
    theirs = their_model(attn_type="uni")
    ours, given = XLNet.from_transformers(theirs), drawn()
    assert ours.mask == sl.causal()
    assert close(ours(given["tokens"]), theirs(given["tokens"]).logits)
    remembered = theirs(given["past"], use_mems=True).mems
    found = ours(given["tokens"], memory=ours.read(given["past"]).memory())
    assert close(found, theirs(given["tokens"], mems=remembered).logits)


def test_gradients(theirs: Any, ours: XLNet) -> None:
    given = drawn()
    query_mask = sl.permutation(given["orders"], stream="query")
    wanted = theirs(
        given["tokens"],
        perm_mask=as_perm_mask(query_mask),
        target_mapping=as_mapping(given["targets"]),
        token_type_ids=given["segments"],
    ).logits
    found = ours(
        given["tokens"],
        mask=sl.permutation(given["orders"]),
        targets=given["targets"],
        segments=given["segments"],
    )
    labels = given["tokens"].gather(1, given["targets"]).flatten()
    pairs = [
        ("asking", "transformer.mask_emb"),
        ("token_embedding.weight", "transformer.word_embedding.weight"),
        ("blocks.1.attention.content_bias", "transformer.layer.1.rel_attn.r_w_bias"),
        ("blocks.0.attention.distance_bias", "transformer.layer.0.rel_attn.r_r_bias"),
        ("blocks.2.attention.segment_bias", "transformer.layer.2.rel_attn.r_s_bias"),
        ("blocks.1.attention.segments", "transformer.layer.1.rel_attn.seg_embed"),
    ]
    gradients = []
    for model, logits, side in ((ours, found, 0), (theirs, wanted, 1)):
        weights = dict(model.named_parameters())
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels)
        gradients.append(torch.autograd.grad(loss, [weights[pair[side]] for pair in pairs]))
    for pair, own, wanted in zip(pairs, *gradients, strict=True):
        assert wanted.abs().max() > 1e-4, pair
        assert torch.allclose(own.flatten(), wanted.flatten(), atol=1e-6, rtol=1e-4), pair


@torch.no_grad()
def test_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their sinusoids are of single precision in any case; given in double, all else agrees."""
    theirs = their_model(torch.float64)
    ours, given = XLNet.from_transformers(theirs), drawn()

    def in_double(qlen: int, klen: int, bsz: int, device: Any = None) -> Any:
        steps = torch.arange(0, WIDTH, 2).double() / WIDTH
        angles = torch.arange(klen, -qlen, -1).double()[:, None] / 10000**steps
        return torch.cat([angles.sin(), angles.cos()], -1)[:, None].expand(-1, bsz, -1)

    monkeypatch.setattr(theirs.transformer, "relative_positional_encoding", in_double)
    query_mask = sl.permutation(given["orders"], stream="query")
    wanted = theirs(
        given["tokens"],
        perm_mask=as_perm_mask(query_mask).double(),
        target_mapping=as_mapping(given["targets"]).double(),
        token_type_ids=given["segments"],
    ).logits
    found = ours(
        given["tokens"],
        mask=sl.permutation(given["orders"]),
        targets=given["targets"],
        segments=given["segments"],
    )
    assert close(found, wanted, 1e-10)


@pytest.mark.parametrize(
    "options",
    [{"ff_activation": "silu"}, {"bi_data": True}, {"same_length": True}],
    ids=repr,
)
def test_what_is_not_computed_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(sl.InvalidArgument, match=next(iter(options))):
        XLNet.from_transformers(their_model(**options))


@pytest.mark.parametrize("gone", ["transformer.layer.1.rel_attn.q", "transformer.mask_emb"])
def test_weights_of_other_sizes_are_refused(theirs: Any, gone: str) -> None:
    state = dict(theirs.state_dict())
    state[gone] = state[gone][..., :-1]
    with_less = type("Model", (), {})()
    for name in ("config", "dtype", "device", "training"):
        setattr(with_less, name, getattr(theirs, name))
    with_less.state_dict = lambda: state
    with pytest.raises(sl.ShapeMismatch, match=gone.rpartition(".")[2]):
        XLNet.from_transformers(with_less)


@torch.no_grad()
def test_attention_weights() -> None:
    theirs = their_model(attn_implementation="eager")
    ours, given = XLNet.from_transformers(theirs), drawn()
    query_mask = sl.permutation(given["orders"], stream="query")
    wanted = theirs(
        given["tokens"],
        perm_mask=as_perm_mask(query_mask),
        target_mapping=as_mapping(given["targets"]),
        output_attentions=True,
    ).attentions
    words = {"mask": sl.permutation(given["orders"]), "targets": given["targets"]}
    asking = ours.attention(given["tokens"], **words)
    words.pop("targets")
    reading = ours.attention(given["tokens"], **words)
    rows = given["targets"][:, None, :, None].expand(-1, 4, -1, LENGTH)
    forbidden = ~torch.tensor(sl.permutation(given["orders"]).dense(LENGTH))
    for layer, (content, query) in enumerate(wanted):
        assert torch.allclose(reading[layer], content, atol=1e-5, rtol=0)
        assert torch.allclose(asking[layer], query.gather(2, rows), atol=1e-5, rtol=0)
        assert reading[layer][forbidden.expand_as(reading[layer])].abs().max() == 0
