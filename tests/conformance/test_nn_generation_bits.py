"""A model's rows have the same bits alone, in a batch, at once, in chunks and token by token.

What is compared is the logits, bit for bit, and the tokens of every way to generate.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import sightline as sl  # noqa: E402
from sightline.models.gpt import GPT, GPTConfig  # noqa: E402
from sightline.nn.generation.rows import (  # noqa: E402
    RowLayout,
    gelu_tanh,
    linear_is_row_invariant,
    model_is_row_invariant,
)
from sightline.nn.generation.session import Session  # noqa: E402

VOCAB = 71
LENGTHS = (7, 1, 12, 5, 9)

MODELS: dict[str, dict[str, Any]] = {
    "learned": {},
    "rotary": {"positions": "rotary", "kv_heads": 2, "hidden": 56},
    "window": {"mask": sl.causal() & (sl.window(left=4) | sl.sinks(1)), "tied": False},
}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> GPT:
    torch.manual_seed(11)
    sizes = {"vocab": VOCAB, "layers": 3, "heads": 4, "width": 48, "context": 64}
    model = GPT(GPTConfig(**{**sizes, **MODELS[request.param]})).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4.0).add_(torch.randn_like(weight), alpha=0.03)
    if not model_is_row_invariant(model, step=8):
        pytest.skip("linear layers of this machine give other bits for other numbers of rows")
    return model


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """What threads change is one test's subject; more of them only make the others wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def prompts() -> list[Any]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randint(VOCAB, (length,), generator=generator) for length in LENGTHS]


def fed(model: GPT, rows: list[Any], pieces: list[list[int]]) -> list[Any]:
    """Return each row's logits when it is fed in pieces: piece i of row b has pieces[i][b]."""
    session = Session(model, model.new_cache(len(rows), 32))
    found: list[list[Any]] = [[] for _ in rows]
    done = np.zeros(len(rows), dtype=np.int64)
    for piece in pieces:
        counts = np.array(piece)
        tokens = np.zeros((len(rows), max(piece)), dtype=np.int64)
        for row, count in enumerate(piece):
            tokens[row, :count] = rows[row][done[row] : done[row] + count]
        logits = session.run(tokens, counts)
        for row, count in enumerate(piece):
            found[row].append(logits[row, :count])
        done += counts
    return [torch.cat(each) for each in found]


def ways(longest: int) -> dict[str, list[list[int]]]:
    """Return ways to feed the prompts; each sums to LENGTHS."""
    one_by_one = [[int(step < length) for length in LENGTHS] for step in range(longest)]
    chunks = [[min(4, max(0, length - start)) for length in LENGTHS] for start in (0, 4, 8)]
    first = [max(1, length - 3) for length in LENGTHS]
    then = [
        [int(start + step < length) for start, length in zip(first, LENGTHS, strict=True)]
        for step in range(3)
    ]
    return {
        "prefill": [list(LENGTHS)],
        "one by one": one_by_one,
        "chunks": chunks,
        "prefill and decode": [first, *then],
    }


@pytest.mark.parametrize("way", list(ways(12)))
def test_logits(way: str, model: GPT) -> None:
    rows = prompts()
    with torch.inference_mode():
        found = fed(model, rows, ways(max(LENGTHS))[way])
        for row, logits in zip(rows, found, strict=True):
            assert torch.equal(logits, model(row[None])[0])


def test_logits_of_a_full_batch(model: GPT) -> None:
    tokens = torch.randint(VOCAB, (6, 13), generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        whole = model(tokens)
        at = torch.tensor([[0, 12], [3, 3], [12, 1], [5, 6], [7, 0], [2, 11]])
        assert torch.equal(
            model(tokens, logits_at=at), whole.gather(1, at[:, :, None].expand(-1, -1, VOCAB))
        )
        for batch in range(1, 6):
            for length in (1, 2, 3, 5, 12):
                assert torch.equal(model(tokens[:batch, :length]), whole[:batch, :length])


def test_threads_change_nothing(model: GPT) -> None:
    tokens = torch.randint(VOCAB, (5, 21), generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        wanted = model(tokens)
        for threads in (2, 3):
            torch.set_num_threads(threads)
            if model_is_row_invariant(model, step=model.row_step):
                assert torch.equal(model(tokens), wanted)
                assert torch.equal(model(tokens[2:3, :5]), wanted[2:3, :5])


def guess(tokens: list[int]) -> list[list[int]]:
    """Guess that the text repeats: what followed the last token the other times."""
    behind = [tokens[i + 1 : i + 4] for i, token in enumerate(tokens[:-1]) if token == tokens[-1]]
    return [*behind[-2:], [tokens[-1]] * 3]


STRATEGIES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sample": {"strategy": "sample", "seed": 9, "temperature": 1.5, "top_k": 40, "top_p": 0.95},
    "beam": {"strategy": "beam", "beams": 3},
    "guesses": {"draft": guess, "draft_branches": 1},
    "tree": {"draft": guess, "draft_branches": 3},
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_tokens_alone_and_in_any_batch(strategy: str, model: GPT) -> None:
    options = {"max_new_tokens": 10, "eos": [3, 17, 30, 44], **STRATEGIES[strategy]}
    rows = prompts()
    together = sl.nn.generate(model, rows, **options)
    assert together.exact
    order = [3, 0, 4]
    several = sl.nn.generate(model, [rows[row] for row in order], prefill_chunk=3, **options)
    for place, row in enumerate(order):
        assert torch.equal(several.tokens[place], together.tokens[row])
        assert torch.equal(several.logprobs[place], together.logprobs[row])
    for row, prompt in enumerate(rows):
        alone = sl.nn.generate(model, [prompt], **options)
        assert torch.equal(alone.tokens[0], together.tokens[row])
        assert torch.equal(alone.logprobs[0], together.logprobs[row])


@pytest.mark.parametrize("strategy", ["greedy", "sample"])
@pytest.mark.parametrize("kind", ["guesses", "tree"])
def test_drafts_change_no_bit(kind: str, strategy: str, model: GPT) -> None:
    options = {"max_new_tokens": 12, **STRATEGIES[strategy]}
    plain = sl.nn.generate(model, prompts(), **options)
    found = sl.nn.generate(model, prompts(), **options, **STRATEGIES[kind])
    assert all(map(torch.equal, found.tokens, plain.tokens))
    assert all(map(torch.equal, found.logprobs, plain.logprobs))


# -- the parts --------------------------------------------------------------------------------


def test_gelu_is_the_same_wherever_a_number_stands() -> None:
    x = torch.randn(70001, generator=torch.Generator().manual_seed(0)) * 3
    with torch.no_grad():
        whole = gelu_tanh(x)
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for size in (1, 7, 8, 17, 31, 1001, 32776, 65543):
                assert torch.equal(gelu_tanh(x[:size].clone()), whole[:size])
    wanted = torch.nn.functional.gelu(x.double(), approximate="tanh")
    assert torch.allclose(whole.double(), wanted, atol=1e-6)
    x.requires_grad_()
    torch.testing.assert_close(gelu_tanh(x), whole, atol=1e-6, rtol=1e-5)


def test_a_layout_leaves_padding_out_and_puts_it_back() -> None:
    counts = np.array([3, 0, 5, 1])
    layout = RowLayout(4, 5, counts, step=4)
    grid = torch.arange(40.0).view(4, 5, 2) + 1
    rows = layout.rows(grid)
    assert rows.shape == (12, 2)  # 9 real ones
    assert not rows[9:].any()
    back = layout.grid(rows)
    real = torch.from_numpy(np.arange(5) < counts[:, None])
    assert torch.equal(back[real], grid[real])
    assert not back[~real].any()
    few = RowLayout(4, 5, np.array([5, 5, 5, 4]), step=4)  # too little to leave out
    assert torch.equal(few.grid(few.rows(grid)), grid)


def test_the_probe_tells_layers_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    linear = torch.nn.functional.linear

    def fickle(rows: Any, weight: Any, bias: Any = None) -> Any:
        return linear(rows, weight, bias) * (1 + 1e-6 * (len(rows) == 24))

    shape = [(33, 21)]  # of no other test: what is found is kept
    with monkeypatch.context() as patched:
        patched.setattr(torch.nn.functional, "linear", fickle)
        assert not linear_is_row_invariant(torch.float32, step=8, shapes=shape)
    with pytest.raises(sl.InvalidArgument, match="step=0"):
        linear_is_row_invariant(step=0)


def test_a_model_that_says_nothing_is_not_called_exact(model: GPT) -> None:
    class Plain:
        new_cache = model.new_cache

        def __call__(self, tokens: Any, *, cache: Any) -> Any:
            return model(tokens, cache=cache)

    assert not sl.nn.generate(Plain(), prompts(), max_new_tokens=2).exact
