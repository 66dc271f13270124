"""Speculative decoding gives what plain decoding gives, and needs fewer passes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import sightline as sl  # noqa: E402
from sightline.models.gpt import GPT, GPTConfig  # noqa: E402
from sightline.nn.generation.decode import Chooser  # noqa: E402
from sightline.nn.generation.drafts import Tree  # noqa: E402
from sightline.nn.generation.options import Options  # noqa: E402
from sightline.nn.generation.sampling import Streams, pick  # noqa: E402
from sightline.nn.generation.speculative import walk  # noqa: E402

VOCAB = 41
PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12, 13], [14], [1, 2, 3, 4, 5, 6, 7, 8, 9], [30, 31]]
NEW = 14


def a_model(layers: int, **options: Any) -> GPT:
    torch.manual_seed(3)
    sizes = {"vocab": VOCAB, "layers": layers, "heads": 4, "width": 32, "context": 23}
    model = GPT(GPTConfig(**{**sizes, **options}))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4.0).add_(torch.randn_like(weight), alpha=0.03)
    return model


MASKS = {
    "causal": sl.causal(),
    "window": sl.causal() & sl.window(left=3),
    "per_head": sl.causal() & sl.per_head([sl.everything(), sl.window(left=2)] * 2),
}


@pytest.fixture(scope="module", params=MASKS)
def model(request: pytest.FixtureRequest) -> GPT:
    return a_model(3, mask=MASKS[request.param])


class Oracle:
    """Guesses that are right for a while: some of the tokens to come, then a wrong one."""

    def __init__(self, wanted: Any, *, decoys: int) -> None:
        self.texts = [row.tolist() for row in wanted.sequences()]
        self.decoys = decoys

    def __call__(self, tokens: list[int]) -> list[list[int]]:
        text = next(text for text in self.texts if text[: len(tokens)] == tokens)
        right = text[len(tokens) : len(tokens) + 3]
        wrong = [[(each + 1 + n) % VOCAB for each in right] for n in range(self.decoys)]
        # A decoy that starts right, so that branches share a beginning.
        return [*wrong, [*right[:1], *right[:1], 0], [*right, 0]]


DRAFTS: dict[str, tuple[int, dict[str, Any]]] = {
    "chain": (1, {"draft_branches": 1}),
    "tree": (3, {"draft_branches": 4}),
    "cut": (2, {"draft_branches": 3, "draft_tokens": 2}),
}


@pytest.mark.parametrize("kind", DRAFTS)
@pytest.mark.parametrize("strategy", ["greedy", "sample"])
def test_guesses_change_no_token(kind: str, strategy: str, model: GPT) -> None:
    decoys, options = DRAFTS[kind]
    common = {"max_new_tokens": NEW, "strategy": strategy, "eos": [16, 28]}
    plain = sl.nn.generate(model, PROMPTS, **common)
    oracle = Oracle(plain, decoys=decoys)
    guess: Any = oracle if decoys > 1 else lambda tokens: oracle(tokens)[-1]
    found = sl.nn.generate(model, PROMPTS, draft=guess, **common, **options)
    assert all(map(torch.equal, found.tokens, plain.tokens))
    for own, wanted in zip(found.logprobs, plain.logprobs, strict=True):
        assert torch.allclose(own, wanted, atol=1e-5)
    assert (found.finished == plain.finished).all()
    assert found.passes < 0.7 * plain.passes


@pytest.mark.parametrize("branches", [1, 3])
@pytest.mark.parametrize("layers", [1, 3])
def test_a_draft_model_changes_no_greedy_token(branches: int, layers: int, model: GPT) -> None:
    draft = a_model(layers)
    common = {"max_new_tokens": NEW, "eos": [16, 28]}
    plain = sl.nn.generate(model, PROMPTS, **common)
    found = sl.nn.generate(model, PROMPTS, draft=draft, draft_branches=branches, **common)
    assert all(map(torch.equal, found.tokens, plain.tokens))
    if layers == 3 and model.mask == sl.causal():  # the draft is the model itself
        assert found.passes <= 1 + -(-(NEW - 1) // 5)


def test_a_draft_model_of_the_same_weights_is_always_right() -> None:
    model = a_model(3)
    common = {"max_new_tokens": NEW, "strategy": "sample", "top_k": 20}
    found = sl.nn.generate(model, PROMPTS, draft=a_model(3), draft_tokens=4, **common)
    assert found.passes == 1 + -(-(NEW - 1) // 5)


def chooser_of(rows: int, seed: int) -> Chooser:
    options = Options(max_new_tokens=9, strategy="sample")
    return Chooser(options, Streams(list(range(seed, seed + rows)), [[0]] * rows))


def test_tokens_drawn_from_a_draft_have_the_models_distribution() -> None:
    """Both tokens of a chain of two guesses, over many rows, whatever the draft's own chances."""
    torch.manual_seed(0)
    logits = torch.randn(3, 5)  # behind the newest token, behind guess 1, behind guess 2
    wanted = logits.softmax(-1)
    drawn = torch.randn(2, 5).mul(1.5).softmax(-1)
    rows = 6000
    chooser = chooser_of(rows, seed=100)
    assert chooser.streams is not None
    counts = np.zeros(5)
    seconds = np.zeros(5)
    for row in range(rows):
        tree = Tree([0])
        for place in range(2):
            token = pick(drawn[place], chooser.streams.draw(row))
            tree.add(place, token, drawn[place])
        # The model's logits do not depend on the guesses here, so neither may its tokens.
        _, found = walk(tree, logits, chooser, row)
        counts[found[0]] += 1
        if len(found) > 1:
            seconds[found[1]] += 1
    for tally, chances in ((counts, wanted[0]), (seconds, wanted[1])):
        total = tally.sum()
        spread = np.sqrt(chances.numpy() * (1 - chances.numpy()) / total)
        assert (abs(tally / total - chances.numpy()) < 4.5 * spread).all()
    # A guess is kept as often as the two distributions overlap.
    overlap = float(torch.minimum(wanted[0], drawn[0]).sum())
    assert seconds.sum() / rows == pytest.approx(overlap, abs=0.03)


def test_a_tree_shares_beginnings() -> None:
    tree = Tree([7])
    for branch in ([1, 2], [1, 3], [4], [1, 2, 5]):
        node = 0
        for token in branch:
            node = tree.add(node, token)
    assert tree.tokens == [7, 1, 2, 3, 4, 5]
    assert tree.parents == [-1, 0, 1, 1, 0, 2]
    assert tree.depths == [0, 1, 2, 2, 1, 3]
    assert not tree.is_chain


def test_sampling_with_branches_and_a_draft_model_is_refused() -> None:
    model = a_model(1)
    with pytest.raises(sl.InvalidArgument, match="one branch"):
        sl.nn.generate(
            model,
            PROMPTS,
            max_new_tokens=3,
            strategy="sample",
            draft=model,
            draft_branches=2,
        )


@pytest.mark.parametrize("branches", [1, 3])
def test_a_cache_without_room_for_drafts_makes_them_shorter(branches: int) -> None:
    model = a_model(2)
    held = max(map(len, PROMPTS)) + NEW - 1
    plain = sl.nn.generate(model, PROMPTS, max_new_tokens=NEW)
    cache = model.new_cache(len(PROMPTS), held)
    found = sl.nn.generate(
        model,
        PROMPTS,
        max_new_tokens=NEW,
        cache=cache,
        draft=Oracle(plain, decoys=1),
        draft_tokens=6,
        draft_branches=branches,
    )
    assert all(map(torch.equal, found.tokens, plain.tokens))
    assert int(cache.lengths.max()) == held
