"""``PackedLinears``: the same results, the same bits for a row in any batch, and nothing stale."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

import sightline as sl  # noqa: E402
from sightline.models.gpt import GPT, GPTConfig  # noqa: E402
from sightline.nn.generation.rows import can_pack, model_is_row_invariant  # noqa: E402

if not can_pack():
    pytest.skip("this torch has no packed linear layers", allow_module_level=True)

PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12, 13], [14], [1, 2, 3, 4, 5, 6, 7, 8, 9], [30, 31]]


@pytest.fixture
def model() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(3)
    config = GPTConfig(vocab=41, layers=2, heads=4, kv_heads=2, width=32, context=64)
    model = GPT(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4.0).add_(torch.randn_like(weight), alpha=0.03)
    yield model
    torch.set_num_threads(threads)


def test_results_and_bits(model: GPT) -> None:
    tokens = torch.randint(41, (5, 13), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        plain = model(tokens)
        with sl.nn.PackedLinears(model):
            packed = model(tokens)
            if model_is_row_invariant(model, step=model.row_step):
                for batch, length in ((1, 1), (1, 6), (3, 2), (5, 1), (2, 13)):
                    assert torch.equal(model(tokens[:batch, :length]), packed[:batch, :length])
        torch.testing.assert_close(packed, plain, atol=1e-4, rtol=1e-4)
        assert torch.equal(model(tokens), plain)  # as before


def test_generating(model: GPT) -> None:
    plain = sl.nn.generate(model, PROMPTS, max_new_tokens=12)
    with sl.nn.PackedLinears(model):
        together = sl.nn.generate(model, PROMPTS, max_new_tokens=12)
        alone = [sl.nn.generate(model, [prompt], max_new_tokens=12) for prompt in PROMPTS]
    assert all(map(torch.equal, together.tokens, plain.tokens))
    for row, one in enumerate(alone):
        torch.testing.assert_close(one.logprobs[0], plain.logprobs[row], atol=1e-4, rtol=1e-4)
        if together.exact:
            assert torch.equal(one.tokens[0], together.tokens[row])
            assert torch.equal(one.logprobs[0], together.logprobs[row])


def test_the_packed_weights_are_what_runs(model: GPT, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the tests above would say nothing about them."""
    from sightline.nn.generation import packed

    calls: list[int] = []
    run = packed.run_packed

    def counted(*args: Any) -> Any:
        calls.append(1)
        return run(*args)

    monkeypatch.setattr(packed, "run_packed", counted)
    with torch.no_grad(), sl.nn.PackedLinears(model):
        model(torch.tensor([[1, 2]]))
    assert len(calls) == 2 * 4 + 1  # four layers in each block, and the head


def test_gradients_do_not_go_through_copies(model: GPT) -> None:
    tokens = torch.tensor([[1, 2, 3]])
    wanted = torch.autograd.grad(model(tokens).sum(), [model.blocks[1].up.weight])[0]
    with sl.nn.PackedLinears(model):
        found = torch.autograd.grad(model(tokens).sum(), [model.blocks[1].up.weight])[0]
    assert torch.equal(found, wanted)


def test_a_weight_that_changed_is_refused(model: GPT) -> None:
    tokens = torch.tensor([[1, 2, 3]])
    with torch.no_grad(), sl.nn.PackedLinears(model):
        model.blocks[1].up.weight.mul_(2.0)
        with pytest.raises(sl.InvalidArgument, match="changed since it was packed"):
            model(tokens)
    with torch.no_grad():
        model(tokens)


def test_other_dtypes_are_left_alone() -> None:
    layer = torch.nn.Linear(6, 5, dtype=torch.float64)
    x = torch.randn(3, 6, dtype=torch.float64)
    with torch.no_grad(), sl.nn.PackedLinears(layer):
        found = layer(x)
    assert torch.equal(found, torch.nn.functional.linear(x, layer.weight, layer.bias))


def test_the_layers_that_gpt2_has_in_transformers() -> None:
    pytorch_utils = pytest.importorskip("transformers.pytorch_utils")
    layer = pytorch_utils.Conv1D(5, 7)  # 7 features in, 5 out
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 3, 7)
    wanted = layer(x).detach()
    with sl.nn.PackedLinears(layer):
        assert "forward" in vars(layer)
        with torch.no_grad():
            torch.testing.assert_close(layer(x), wanted, atol=1e-6, rtol=1e-5)
        assert torch.equal(layer(x).detach(), wanted)  # with gradients, its own way
    assert "forward" not in vars(layer)
