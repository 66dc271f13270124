"""models/unilm.py: layouts, engines, orders, and writing token by token."""

from __future__ import annotations

from typing import Any

import pytest

import sightline as sl

torch = pytest.importorskip("torch")

from sightline.models.unilm import UniLM, UniLMConfig, begins  # noqa: E402
from sightline.models.unilm_masks import MODES  # noqa: E402

SIZES: Any = {
    "vocab": 41,
    "layers": 3,
    "heads": 4,
    "width": 24,
    "hidden": 36,
    "context": 32,
    "dropout": 0.0,
}
LENGTHS, SOURCES = (8, 3, 11), (5, 1, 7)
STOP, MASK = 2, 4


def made(engine: str = "auto", dtype: Any = torch.float32) -> UniLM:
    torch.manual_seed(7)
    model = UniLM(UniLMConfig(**SIZES, engine=engine)).to(dtype).eval()
    with torch.no_grad():
        for weight in model.parameters():  # so that logits differ, and texts do not go in circles
            weight.mul_(4.0).add_(torch.randn_like(weight), alpha=0.05)
    return model


def sequences(lengths: Any = LENGTHS) -> list[Any]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(5, SIZES["vocab"], (length,), generator=generator) for length in lengths]


@pytest.mark.parametrize("modes", [*MODES, ("left_to_right", "seq2seq", "bidirectional")])
@pytest.mark.parametrize("side", ["right", "left", "packed"])
def test_a_sequence_alone_is_that_sequence_in_any_batch(modes: Any, side: Any) -> None:
    model = made(dtype=torch.float64)
    each = [modes] * 3 if isinstance(modes, str) else modes
    batch = sl.Batch.from_sequences(sequences(), side=side)
    with torch.no_grad():
        together = model.read(batch, modes, SOURCES)
        for row, tokens in enumerate(sequences()):
            alone = model.read(sl.Batch.from_sequences([tokens]), each[row], [SOURCES[row]])
            found = batch.split(together.mlm)[row]
            assert torch.allclose(found, alone.mlm[0], atol=1e-10)
            assert torch.allclose(together.nsp[row], alone.nsp[0], atol=1e-10)


def test_modes_differ() -> None:
    """Else the test above would pass for a model that reads no mask."""
    model, batch = made(), sl.Batch.from_sequences(sequences())
    with torch.no_grad():
        found = [model.read(batch, mode, SOURCES).mlm[batch.valid] for mode in MODES]
    for one in range(4):
        for other in range(one):
            assert not torch.allclose(found[one], found[other], atol=1e-2)


@pytest.mark.parametrize("modes", [*MODES, ("right_to_left", "seq2seq", "bidirectional")])
@pytest.mark.parametrize("side", ["right", "packed"])
def test_engines_agree(modes: Any, side: Any) -> None:
    batch = sl.Batch.from_sequences(sequences(), side=side)
    found = []
    for engine in ("cpu", "sdpa"):
        model = made(engine)
        logits = model.read(batch, modes, SOURCES)
        loss = logits.mlm[batch.valid].square().mean() + logits.nsp.square().mean()
        found.append((logits, torch.autograd.grad(loss, list(model.parameters()))))
    (one, one_gradients), (other, other_gradients) = found
    assert torch.allclose(one.mlm[batch.valid], other.mlm[batch.valid], atol=1e-5, rtol=1e-5)
    assert torch.allclose(one.nsp, other.nsp, atol=1e-5)
    for mine, theirs in zip(one_gradients, other_gradients, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5 * max(1.0, float(theirs.abs().max())))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_permuted_mask_is_a_permuted_input(dtype: Any) -> None:
    """The triangle with rows and columns permuted, or the tokens in that order with positions."""
    model = made(dtype=dtype)
    (tokens,) = sequences([13])
    order = torch.randperm(13, generator=torch.Generator().manual_seed(3))
    rank = order.argsort()
    triangle = torch.ones(13, 13, dtype=torch.bool).tril()
    permuted = triangle[rank][:, rank]  # [query, key]: the key does not come after the query
    mask = sl.permutation(order.tolist())
    assert (torch.from_numpy(mask.dense(13)[0, 0]) == permuted).all()
    with torch.no_grad():
        by_mask = model(tokens[None], mask=mask).mlm[0]
        by_input = model(tokens[order][None], positions=order[None], mask=sl.causal()).mlm[0]
        without = model(tokens[order][None], mask=sl.causal()).mlm[0]
    apart = 1e-6 if dtype == torch.float64 else 2e-5
    assert torch.allclose(by_mask[order], by_input, atol=apart, rtol=1e-6)
    assert not torch.allclose(by_mask[order], without, atol=1e-2)  # positions have to be kept


def written_anew(model: UniLM, source: Any, most: int) -> tuple[list[int], list[float]]:
    """Write without a cache: append [MASK], run all of it, put what it says in its place."""
    new: list[int] = []
    logprobs: list[float] = []
    while len(new) < most and STOP not in new:
        batch = sl.Batch.from_sequences([torch.tensor([*source.tolist(), *new, MASK])])
        logits = model.read(batch, "seq2seq", [len(source)]).mlm[0, -1]
        new.append(int(logits.argmax()))
        logprobs.append(float(logits.log_softmax(-1).max()))
    return new, logprobs


def test_written_with_a_cache_is_written_without() -> None:
    model = made(dtype=torch.float64)
    sources = sequences([5, 1, 9, 3])
    with torch.no_grad():
        wanted = [written_anew(model, source, 8) for source in sources]
    found = sl.nn.generate(model.writer(MASK), sources, max_new_tokens=8, eos=STOP)
    assert [row.tolist() for row in found.tokens] == [tokens for tokens, _ in wanted]
    for row, (_, logprobs) in zip(found.logprobs, wanted, strict=True):
        assert row.tolist() == pytest.approx(logprobs, abs=1e-6)
    assert len({tuple(tokens) for tokens, _ in wanted}) > 1


@pytest.mark.parametrize("beams", [1, 3])
def test_beams(beams: int) -> None:
    """One is greedy; of several each is scored as the steps of writing it say."""
    model = made()
    sources = sequences([5, 9])
    options: Any = {"max_new_tokens": 5, "eos": STOP}
    greedy = sl.nn.generate(model.writer(MASK), sources, **options)
    found = sl.nn.generate(model.writer(MASK), sources, strategy="beam", beams=beams, **options)
    for row, source in enumerate(sources):
        if beams == 1:
            assert found.tokens[row].tolist() == greedy.tokens[row].tolist()
        for each in found.hypotheses[row]:
            score = 0.0
            for step, token in enumerate(each.tokens.tolist()):
                line = torch.tensor([*source.tolist(), *each.tokens.tolist()[:step], MASK])
                batch = sl.Batch.from_sequences([line])
                with torch.no_grad():
                    logits = model.read(batch, "seq2seq", [len(source)]).mlm[0, -1]
                score += float(logits.log_softmax(-1)[token])
            assert each.score == pytest.approx(score / len(each.tokens), abs=1e-4)


def test_what_is_written_never_sees_a_mask_token_behind_it() -> None:
    """Why the cache is exact: the source and what is written stay as they were."""
    model = made(dtype=torch.float64)
    (source,) = sequences([6])
    states = []
    with torch.no_grad():
        for tail in ([], [MASK], [7, MASK], [7, 8, MASK]):
            row = torch.cat([source, torch.tensor(tail, dtype=torch.int64)])
            states.append(model.read(sl.Batch.from_sequences([row]), "seq2seq", [6]).mlm[0])
    for state in states[1:]:
        assert torch.allclose(state[:6], states[0], atol=1e-12)
    assert torch.allclose(states[2][6], states[3][6], atol=1e-12)


def test_what_a_writer_cannot_do_is_refused() -> None:
    writer = made().writer(MASK)
    with pytest.raises(sl.InvalidArgument, match="whole source in one pass"):
        sl.nn.generate(writer, sequences([6]), max_new_tokens=3, prefill_chunk=4)
    chunk = writer.new_cache(1, 8).extend(4)
    with pytest.raises(sl.InvalidArgument, match="logits_at"):
        writer(sequences([4])[0][None], cache=chunk, logits_at=torch.tensor([[1]]))


def test_reading_wants_tokens_and_enough_segments() -> None:
    with pytest.raises(sl.InvalidArgument, match="lengths only"):
        made().read(sl.Batch.from_lengths([3, 2]), "left_to_right")
    with pytest.raises(sl.InvalidArgument, match="segments=3"):
        UniLM(UniLMConfig(**SIZES, segments=3))


@pytest.mark.parametrize(
    ("side", "wanted"), [("right", [0, 11, 22]), ("left", [3, 19, 22]), ("packed", [0, 8, 11])]
)
def test_where_sequences_begin(side: Any, wanted: list[int]) -> None:
    assert begins(sl.Batch.from_lengths(LENGTHS, side=side)).tolist() == wanted
