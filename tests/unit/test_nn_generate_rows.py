"""Rows that end, go on and are dropped; what is reported; caches that go on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import sightline as sl  # noqa: E402
from sightline.models.gpt import GPT, GPTConfig  # noqa: E402

VOCAB = 41
PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12, 13], [14], [1, 2, 3, 4, 5, 6, 7, 8, 9], [30, 31]]


def a_model(**options: Any) -> GPT:
    torch.manual_seed(3)
    sizes = {"vocab": VOCAB, "layers": 2, "heads": 4, "kv_heads": 2, "width": 32, "context": 64}
    model = GPT(GPTConfig(**{**sizes, **options}))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4.0).add_(torch.randn_like(weight), alpha=0.03)
    return model


@pytest.fixture(scope="module")
def model() -> GPT:
    return a_model()


def by_hand(model: GPT, prompt: list[int], count: int) -> tuple[list[int], list[float]]:
    """Return greedy tokens and their log-probabilities by full passes without a cache."""
    tokens, logprobs = list(prompt), []
    with torch.no_grad():
        for _ in range(count):
            last = model(torch.tensor([tokens]))[0, -1].log_softmax(-1)
            tokens.append(int(last.argmax()))
            logprobs.append(float(last[tokens[-1]]))
    return tokens[len(prompt) :], logprobs


@pytest.mark.parametrize(
    "options", [{}, {"positions": "rotary"}, {"mask": sl.causal() & sl.window(left=4)}]
)
def test_greedy_is_the_most_probable_token_each_time(options: dict[str, Any]) -> None:
    model = a_model(**options)
    found = sl.nn.generate(model, PROMPTS, max_new_tokens=8)
    for row, prompt in enumerate(PROMPTS):
        tokens, logprobs = by_hand(model, prompt, 8)
        assert found.tokens[row].tolist() == tokens
        assert found.logprobs[row].tolist() == pytest.approx(logprobs, abs=1e-5)
        assert found.sequences()[row].tolist() == prompt + tokens
    assert found.passes == 8
    assert not found.finished.any()


def test_rows_end_at_eos_and_the_others_go_on(model: GPT) -> None:
    free = sl.nn.generate(model, PROMPTS, max_new_tokens=10)
    # The third new token of row 0, and the fifth of row 3, end rows.
    eos = [int(free.tokens[0][2]), int(free.tokens[3][4])]
    found = sl.nn.generate(model, PROMPTS, max_new_tokens=10, eos=eos, pad=40)
    lengths = []
    for row, tokens in enumerate(free.tokens):
        ends = np.flatnonzero(np.isin(tokens.numpy(), eos))
        lengths.append(int(ends[0]) + 1 if len(ends) else 10)
        assert found.tokens[row].tolist() == tokens.tolist()[: lengths[-1]]
        assert found.finished[row] == bool(len(ends))
    assert found.lengths.tolist() == lengths
    assert len(set(lengths)) > 1
    padded = found.padded()
    assert padded.shape == (5, max(lengths))
    assert padded[0].tolist() == found.tokens[0].tolist() + [40] * (max(lengths) - lengths[0])


def test_a_row_that_has_ended_is_not_fed_and_is_dropped(model: GPT) -> None:
    free = sl.nn.generate(model, PROMPTS, max_new_tokens=9)
    eos = [int(free.tokens[row][1]) for row in (0, 1, 2)]
    seen: list[tuple[int, int]] = []

    class Watched:
        new_cache = model.new_cache

        def __call__(self, tokens: Any, *, cache: Any) -> Any:
            seen.append((len(tokens), int((cache.counts > 0).sum())))
            return model(tokens, cache=cache)

    found = sl.nn.generate(Watched(), PROMPTS, max_new_tokens=9, eos=eos)
    live = [sum(len(row) > step for row in found.tokens) for step in range(9)]
    assert [fed for _, fed in seen] == [5, *[count for count in live[1:] if count]]
    assert seen[-1][0] <= 2 * seen[-1][1]  # most of the rows of the cache are gone


def test_progress_is_told_token_by_token(model: GPT) -> None:
    told: dict[int, list[int]] = {row: [] for row in range(len(PROMPTS))}
    calls = []

    def note(row: int, tokens: list[int]) -> None:
        told[row].extend(tokens)
        calls.append(row)

    found = sl.nn.generate(model, PROMPTS, max_new_tokens=6, on_token=note)
    assert list(told.values()) == [row.tolist() for row in found.tokens]
    assert calls == list(range(5)) * 6
    calls.clear()
    sl.nn.generate(model, PROMPTS, max_new_tokens=6, strategy="beam", beams=2, on_token=note)
    assert calls == list(range(5))


@pytest.mark.parametrize("draft", [None, lambda tokens: tokens[-3:]])
def test_a_cache_goes_on(draft: Any, model: GPT) -> None:
    cache = model.new_cache(len(PROMPTS), 64)
    first = sl.nn.generate(model, PROMPTS, max_new_tokens=6, cache=cache, draft=draft)
    held = [len(prompt) + 5 for prompt in PROMPTS]
    assert cache.lengths.tolist() == held
    turn = [[*row[-1:].tolist(), 3, 4] for row in first.tokens]
    second = sl.nn.generate(model, turn, max_new_tokens=5, cache=cache, draft=draft)
    texts = [[*row.tolist(), 3, 4] for row in first.sequences()]
    wanted = sl.nn.generate(model, texts, max_new_tokens=5)
    assert all(map(torch.equal, second.tokens, wanted.tokens))


def test_the_model_is_left_as_it_was() -> None:
    model = a_model(dropout=0.5)
    model.blocks[0].eval()
    found = sl.nn.generate(model, PROMPTS, max_new_tokens=5)
    assert model.training
    assert not model.blocks[0].training
    assert model.blocks[1].training
    model.eval()
    wanted = sl.nn.generate(model, PROMPTS, max_new_tokens=5)
    assert all(map(torch.equal, found.tokens, wanted.tokens))
    # What is returned may be used in training.
    model.train()
    model(found.padded()).sum().backward()


def test_beams_are_the_best_of_all_continuations(model: GPT) -> None:
    """With as many beams as there are first tokens, two tokens are searched exhaustively."""
    prompt = [5, 6, 7]
    with torch.no_grad():
        first = model(torch.tensor([prompt]))[0, -1].log_softmax(-1)
        every = torch.tensor([[*prompt, token] for token in range(VOCAB)])
        second = model(every)[:, -1].log_softmax(-1)
    totals = first[:, None] + second
    best = divmod(int(totals.argmax()), VOCAB)
    found = sl.nn.generate(
        model, [[9, 9], prompt], max_new_tokens=2, strategy="beam", beams=VOCAB, length_penalty=0.0
    )
    assert found.tokens[1].tolist() == list(best)
    assert found.hypotheses[1][0].score == pytest.approx(float(totals.max()), abs=1e-4)
    assert float(found.logprobs[1].sum()) == pytest.approx(float(totals.max()), abs=1e-4)
    scores = [each.score for each in found.hypotheses[1]]
    assert scores == sorted(scores, reverse=True)
