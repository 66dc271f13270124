"""models/gpt.py and ``generate`` against transformers' GPT-2, with random weights."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import sightline as sl  # noqa: E402
from sightline.models.gpt import GPT  # noqa: E402
from sightline.nn.generation.sampling import filter_logits  # noqa: E402

VOCAB = 53
EOS = [16, 28, 33]
LENGTHS = (3, 9, 1, 14, 6)


def their_config(**options: Any) -> Any:
    sizes = {"vocab_size": VOCAB, "n_layer": 3, "n_head": 4, "n_embd": 32, "n_positions": 48}
    return transformers.GPT2Config(
        **{**sizes, "bos_token_id": None, "eos_token_id": None, "pad_token_id": 0, **options}
    )


def their_model(**options: Any) -> Any:
    torch.manual_seed(5)
    model = transformers.GPT2LMHeadModel(their_config(**options)).eval()
    with torch.no_grad():
        for weight in model.parameters():  # so that logits differ, and texts do not go in circles
            weight.mul_(4.0).add_(torch.randn_like(weight), alpha=0.05)
    return model


@pytest.fixture(scope="module")
def theirs() -> Any:
    return their_model()


@pytest.fixture(scope="module")
def ours(theirs: Any) -> GPT:
    return GPT.from_transformers(theirs)


def prompts() -> list[Any]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randint(1, VOCAB, (length,), generator=generator) for length in LENGTHS]


def left_padded() -> tuple[Any, Any]:
    tokens = torch.zeros(len(LENGTHS), max(LENGTHS), dtype=torch.int64)
    real = torch.zeros_like(tokens)
    for row, prompt in enumerate(prompts()):
        tokens[row, -len(prompt) :] = prompt
        real[row, -len(prompt) :] = 1
    return tokens, real


def their_generate(model: Any, tokens: Any, real: Any, **options: Any) -> Any:
    settings = transformers.GenerationConfig(
        pad_token_id=0, do_sample=False, return_dict_in_generate=True, **options
    )
    return model.generate(tokens, attention_mask=real, generation_config=settings)


@pytest.mark.parametrize("options", [{}, {"n_inner": 40}, {"tie_word_embeddings": False}])
def test_logits(options: dict[str, Any]) -> None:
    theirs = their_model(**options)
    ours = GPT.from_transformers(theirs)
    tokens = torch.randint(VOCAB, (3, 11))
    with torch.no_grad():
        assert torch.allclose(ours(tokens), theirs(tokens).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_loss(dtype: Any, most: float) -> None:
    """A batch with padding on the right, whose labels are left out; their loss is in float32."""
    theirs = their_model().to(dtype)
    ours = GPT.from_transformers(theirs)
    batch = sl.Batch.from_sequences(prompts(), side="right")
    tokens, real = batch.tokens, batch.valid
    labels = tokens.masked_fill(~real, -100)
    with torch.no_grad():
        wanted = theirs(tokens, attention_mask=real.long(), labels=labels)
        logits = ours(tokens, mask=batch.place(ours.mask))
    before, after = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    found = torch.nn.functional.cross_entropy(before, after)
    assert logits.dtype == dtype
    assert float((logits - wanted.logits)[real].abs().max()) <= most * float(logits.abs().max())
    assert abs(float(found - wanted.loss)) <= 1e-5


def test_gradients(theirs: Any) -> None:
    ours = GPT.from_transformers(theirs)
    tokens = torch.randint(VOCAB, (3, 7))
    found = []
    for model in (ours, theirs):
        output = model(tokens)
        logits = output if model is ours else output.logits
        before, after = logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()
        loss = torch.nn.functional.cross_entropy(before, after)
        found.append(loss)
    ours_loss, theirs_loss = found
    (own,) = torch.autograd.grad(ours_loss, [ours.token_embedding.weight])
    (wanted,) = torch.autograd.grad(theirs_loss, [theirs.transformer.wte.weight])
    assert torch.allclose(own, wanted, atol=1e-5, rtol=1e-4)


def test_weights_go_back(ours: GPT, theirs: Any) -> None:
    other = transformers.GPT2LMHeadModel(their_config()).eval()
    missing, unknown = other.load_state_dict(ours.transformers_state(), strict=False)
    assert not missing
    assert not unknown
    tokens = torch.randint(VOCAB, (2, 5))
    with torch.no_grad():
        assert torch.equal(other(tokens).logits, theirs(tokens).logits)


@pytest.mark.parametrize(
    "options",
    [
        {"activation_function": "relu"},
        {"scale_attn_weights": False},
        {"scale_attn_by_inverse_layer_idx": True},
    ],
)
def test_what_is_not_computed_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(sl.InvalidArgument, match=next(iter(options))):
        GPT.from_transformers(their_model(**options))


def test_weights_of_other_sizes_are_refused(theirs: Any) -> None:
    state = dict(theirs.state_dict())
    state["transformer.h.1.mlp.c_fc.weight"] = state["transformer.h.1.mlp.c_fc.weight"][:, :-1]
    theirs_with_less = type("Model", (), {})()
    for name in ("config", "dtype", "device", "training"):
        setattr(theirs_with_less, name, getattr(theirs, name))
    theirs_with_less.state_dict = lambda: state
    with pytest.raises(sl.ShapeMismatch, match=r"h\.1\.mlp\.c_fc\.weight"):
        GPT.from_transformers(theirs_with_less)


@pytest.mark.parametrize("use_cache", [True, False])
def test_greedy(ours: GPT, theirs: Any, use_cache: bool) -> None:
    """Ours comes through the cache; theirs with and without one."""
    tokens, real = left_padded()
    options = {"max_new_tokens": 20, "use_cache": use_cache}
    wanted = their_generate(theirs, tokens, real, **options).sequences
    found = sl.nn.generate(ours, prompts(), max_new_tokens=20)
    assert torch.equal(torch.stack(found.tokens), wanted[:, tokens.shape[1] :])


@pytest.mark.parametrize("eos", [None, EOS])
@pytest.mark.parametrize(
    ("beams", "length_penalty", "early_stopping"),
    [(3, 1.0, False), (4, 0.0, False), (2, 2.0, True), (5, -1.0, False)],
)
def test_beams(
    ours: GPT,
    theirs: Any,
    eos: Any,
    beams: int,
    length_penalty: float,
    early_stopping: bool,
) -> None:
    found = sl.nn.generate(
        ours,
        prompts(),
        max_new_tokens=12,
        strategy="beam",
        beams=beams,
        length_penalty=length_penalty,
        early_stopping=early_stopping,
        eos=eos,
    )
    if eos is not None:  # otherwise the rules of ending would not be tried
        assert min(len(each.tokens) for row in found.hypotheses for each in row) < 12
    tokens, real = left_padded()
    wanted = their_generate(
        theirs,
        tokens,
        real,
        max_new_tokens=12,
        num_beams=beams,
        length_penalty=length_penalty,
        early_stopping=early_stopping,
        eos_token_id=eos,
        num_return_sequences=beams,
        output_scores=True,
    )
    own = [each for row in found.hypotheses for each in row]
    behind = wanted.sequences[:, tokens.shape[1] :]
    for each, their, score in zip(own, behind, wanted.sequences_scores, strict=True):
        length = len(each.tokens)
        assert torch.equal(each.tokens, their[:length])
        assert set(their[length:].tolist()) <= {0, EOS[0]}  # what they fill up with
        assert each.score == pytest.approx(float(score), rel=1e-4)
    for best, row in zip(found.tokens, found.hypotheses, strict=True):
        assert torch.equal(best, row[0].tokens)


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    list(
        itertools.product([0.6, 1.0, 1.7], [None, 1, 9, VOCAB, 400], [None, 0.05, 0.7, 0.999, 1.0])
    ),
)
def test_filters(temperature: float, top_k: int | None, top_p: float | None) -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(6, 400, generator=generator) * torch.linspace(0.1, 4, 6)[:, None]
    process = transformers.generation.logits_process
    wanted = process.TemperatureLogitsWarper(temperature)(None, logits)
    if top_k is not None:
        wanted = process.TopKLogitsWarper(top_k)(None, wanted)
    if top_p is not None and top_p < 1.0:
        wanted = process.TopPLogitsWarper(top_p)(None, wanted)
    found = filter_logits(logits, temperature=temperature, top_k=top_k, top_p=top_p)
    assert torch.equal(found, wanted)
