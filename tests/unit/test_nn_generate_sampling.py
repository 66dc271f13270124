"""Drawing tokens: the distribution, the filters' edges, and streams that know no neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import sightline as sl  # noqa: E402
from sightline.models.gpt import GPT, GPTConfig  # noqa: E402
from sightline.nn.generation.sampling import Streams, filter_logits, pick  # noqa: E402


def test_pick_inverts_the_running_sum() -> None:
    chances = torch.tensor([0.0, 0.25, 0.0, 0.5, 0.25, 0.0])
    numbers = [0.0, 0.2499, 0.25, 0.7499, 0.75, 1.0 - 2.0**-53]
    assert [pick(chances, number) for number in numbers] == [1, 1, 3, 3, 4, 4]
    assert pick(chances * 3.0, 0.75) == 4  # need not sum to 1


def test_pick_draws_what_the_probabilities_say() -> None:
    chances = torch.tensor([0.1, 0.0, 0.6, 0.3])
    grid = (np.arange(1000) + 0.5) / 1000
    counts = np.bincount([pick(chances, number) for number in grid], minlength=4)
    assert counts.tolist() == pytest.approx([100, 0, 600, 300], abs=1)


def test_filters_keep_equals_and_at_least_one() -> None:
    logits = torch.tensor([[2.0, 1.0, 2.0, 2.0, 0.0], [0.0, 5.0, 1.0, 2.0, 3.0]])
    kept = filter_logits(logits, top_k=2).isfinite()
    assert kept.tolist() == [[True, False, True, True, False], [False, True, False, False, True]]
    assert filter_logits(logits, top_p=1e-9).isfinite()[1].tolist() == [False, True] + [False] * 3
    assert torch.equal(filter_logits(logits, top_k=99, top_p=1.0), logits)


def test_a_nucleus_wider_than_what_is_sorted_first() -> None:
    """The many nearly equal tokens of a flat distribution, against a sort of all of them."""
    logits = torch.randn(3, 1200, generator=torch.Generator().manual_seed(0)) * 0.1
    logits[1] *= 60.0  # a narrow one between them
    kept = filter_logits(logits, top_p=0.8).isfinite()
    for row, each in zip(kept, logits, strict=True):
        weights, order = each.double().softmax(-1).sort(descending=True)
        needed = int((weights.cumsum(0) < 0.8).sum()) + 1
        assert set(order[:needed].tolist()) == set(row.nonzero()[:, 0].tolist())
    assert kept.sum(-1)[0] > 256 > kept.sum(-1)[1]
    assert torch.equal(kept[1:2], filter_logits(logits[1:2], top_p=0.8).isfinite())


def test_streams() -> None:
    def draws(seed: Any, prompts: list[Any], row: int) -> list[float]:
        streams = Streams(seed, prompts)
        return [streams.draw(row) for _ in range(3)]

    prompt, other = [1, 2, 3], [4, 5]
    wanted = draws(7, [prompt], 0)
    assert wanted == draws(7, [other, prompt, prompt], 1)
    assert wanted == draws(np.int64(7), [torch.tensor(prompt), other], 0)
    assert wanted != draws(7, [other, prompt, prompt], 2)  # its copy draws something else
    assert draws(7, [prompt, prompt], 1) == draws(7, [prompt, other, prompt], 2)
    assert wanted != draws(8, [prompt], 0)
    assert wanted != draws(7, [other], 0)
    assert draws([7], [prompt], 0) == draws((3, 7), [other, other], 1)


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(1)
    model = GPT(GPTConfig(vocab=7, layers=1, heads=2, width=16, context=8))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(6.0)
    return model


@pytest.mark.parametrize("options", [{}, {"temperature": 2.0, "top_k": 4, "top_p": 0.9}])
def test_drawn_tokens_have_the_distribution(options: dict[str, Any], model: GPT) -> None:
    copies = 3000
    found = sl.nn.generate(
        model, [[1, 2]] * copies, max_new_tokens=2, strategy="sample", seed=4, **options
    )
    pairs = np.stack([row.numpy() for row in found.tokens])
    with torch.no_grad():
        wanted = filter_logits(model(torch.tensor([[1, 2]]))[:, -1], **options).softmax(-1)[0]
        most = int(wanted.argmax())
        behind = filter_logits(model(torch.tensor([[1, 2, most]]))[:, -1], **options).softmax(-1)
    for tokens, chances in ((pairs[:, 0], wanted), (pairs[pairs[:, 0] == most, 1], behind[0])):
        shares = np.bincount(tokens, minlength=7) / len(tokens)
        spread = np.sqrt(chances.numpy() * (1 - chances.numpy()) / len(tokens))
        assert (abs(shares - chances.numpy()) <= 4.5 * spread + 1e-9).all()


def test_logprobs_are_the_models_own(model: GPT) -> None:
    found = sl.nn.generate(
        model, [[1, 2], [3]], max_new_tokens=3, strategy="sample", temperature=3.0, top_k=3
    )
    for text, tokens, logprobs in zip(found.sequences(), found.tokens, found.logprobs, strict=True):
        with torch.no_grad():
            whole = model(text[None])[0].log_softmax(-1)
        before = len(text) - len(tokens) - 1
        wanted = whole[before:-1].gather(1, tokens[:, None])[:, 0]
        assert torch.allclose(logprobs, wanted, atol=1e-5)
