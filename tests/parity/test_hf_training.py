"""What is around a patched model's forward pass: training, compilation, weights, dtypes, copies."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import pytest

transformers = pytest.importorskip("transformers", minversion="5")
torch = pytest.importorskip("torch")

import sightline as sl  # noqa: E402
from sightline.errors import CannotExpress, SightlineError  # noqa: E402
from sightline.hf.attention_function import attend_module  # noqa: E402
from sightline.testing.hf_architectures import ARCHITECTURES, feed  # noqa: E402


def ready(name: str, side: str = "left", **sizes: Any) -> tuple[Any, dict[str, Any]]:
    architecture = ARCHITECTURES[name]
    architecture = replace(architecture, sizes={**architecture.sizes, **sizes})
    return architecture.build(), feed(architecture, side)


def gradients(model: Any, given: dict[str, Any]) -> dict[str, Any]:
    model.zero_grad()
    torch.manual_seed(5)
    output = model(**given, use_cache=False)[0]
    output[given["attention_mask"] == 1].square().sum().backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_gives_the_same_gradients(reentrant: bool) -> None:
    model, given = ready("gpt2", attn_pdrop=0.2, resid_pdrop=0.0, embd_pdrop=0.0)
    sl.hf.patch(model, mask=sl.window(left=5)).train()
    wanted = gradients(model, given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # renamed in transformers 5.2x
        model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    found = gradients(model, given)
    for name, grad in wanted.items():
        assert torch.allclose(found[name], grad, atol=1e-4, rtol=1e-4), name


def test_dropout_drops_in_training_only() -> None:
    model, given = ready("gpt2", attn_pdrop=0.5, resid_pdrop=0.0, embd_pdrop=0.0)
    sl.hf.patch(model)
    with torch.no_grad():
        still = [model(**given)[0] for _ in range(2)]
        model.train()
        moving = [model(**given)[0] for _ in range(2)]
    assert torch.equal(*still)
    assert not torch.equal(*moving)


def test_a_patched_model_learns() -> None:
    model, given = ready("llama")
    sl.hf.patch(model).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    labels = given["input_ids"].masked_fill(given["attention_mask"] == 0, -100)
    losses = []
    for _ in range(20):
        loss = model(**given, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_bfloat16_is_as_near_to_float32_as_their_own() -> None:
    model, given = ready("llama")
    real = given["attention_mask"] == 1
    with torch.no_grad():
        exact = model(**given)[0]
        model.to(torch.bfloat16)
        own = model(**given)[0].float()
        ours = sl.hf.patch(model)(**given)[0]
    assert ours.dtype == torch.bfloat16
    errors = [float((each.float() - exact)[real].abs().max()) for each in (own, ours)]
    assert errors[1] < 1.5 * errors[0]


@pytest.mark.parametrize("name", ["llama", "gpt_oss", "t5"])
def test_weights_are_handed_out_where_they_are_asked_for(name: str) -> None:
    model, given = ready(name, "right")
    model.set_attn_implementation("eager")
    with torch.no_grad():
        wanted = model(**given, output_attentions=True)
        sl.hf.patch(model)
        found = model(**given, output_attentions=True)
        plain = model(**given)
    which = "decoder_attentions" if "decoder_attentions" in wanted else "attentions"
    assert len(found[which]) == 2
    for own, ours in zip(wanted[which], found[which], strict=True):
        assert own.shape == ours.shape
        assert float((own - ours).abs().max()) < 1e-5
    assert torch.equal(found[0], plain[0])


def test_sinks_pass_gradients() -> None:
    model, given = ready("gpt_oss")
    model.set_attn_implementation("eager")
    wanted = gradients(model, given)
    found = gradients(sl.hf.patch(model), given)
    sinks = [name for name in wanted if name.endswith("sinks")]
    assert sinks
    for name in sinks:
        assert float(wanted[name].abs().max()) > 0
        assert torch.allclose(found[name], wanted[name], atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama", "gemma2 without cap", "bert"])
def test_torch_compile_gives_the_same_and_does_not_compile_each_step_anew(name: str) -> None:
    from torch._dynamo.testing import CompileCounter

    model, given = ready(name)
    sl.hf.patch(model)
    torch._dynamo.reset()
    counter = CompileCounter()
    compiled = torch.compile(model, backend=counter)
    with torch.no_grad():
        counts = []
        for length in (9, 8, 7, 6, 5):
            cut = {key: value[:, :length] for key, value in given.items()}
            gap = (compiled(**cut)[0] - model(**cut)[0]).abs()[cut["attention_mask"] == 1]
            assert float(gap.max()) < 1e-5
            counts.append(counter.frame_count)
    assert counts[2] == counts[-1], counts


@pytest.mark.slow
def test_compiled_decoding_does_not_compile_each_step_anew() -> None:
    from torch._dynamo.testing import CompileCounter

    model, given = ready("llama")
    sl.hf.patch(model)
    told: dict[str, Any] = {"eos_token_id": None, "pad_token_id": 0}
    wanted = model.generate(**given, **told, max_new_tokens=12)
    torch._dynamo.reset()
    counter = CompileCounter()
    model.forward = torch.compile(model.forward, backend=counter)
    model.generate(**given, **told, max_new_tokens=4)
    before = counter.frame_count
    assert torch.equal(model.generate(**given, **told, max_new_tokens=12), wanted)
    assert counter.frame_count == before


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [{"softcap": 30.0}, {"head_mask": torch.ones(4)}, {"indices": torch.zeros(1)}, {"tilt": 0.5}],
    ids=lambda more: next(iter(more)),
)
def test_arguments_that_would_change_the_result_are_refused(more: dict[str, Any]) -> None:
    model, _ = ready("llama")
    module = sl.hf.patch(model).model.layers[0].self_attn
    x = torch.zeros(1, 4, 3, 8)
    with pytest.raises(CannotExpress, match=f"the argument {next(iter(more))}="):
        attend_module(module, x, x, x, None, **more)
    attend_module(module, x, x, x, None, **dict.fromkeys(more), sliding_window=7)


def test_keys_of_another_length_than_the_mask_are_refused() -> None:
    model, given = ready("llama")
    module = sl.hf.patch(model).model.layers[0].self_attn
    carriers = []
    module.register_forward_pre_hook(
        lambda _, args, kwargs: carriers.append(kwargs["attention_mask"]), with_kwargs=True
    )
    with torch.no_grad():
        model(**given)
    x = torch.zeros(3, 4, 8, 8)
    with pytest.raises(SightlineError, match="8 queries and 8 keys and a mask made for 9 and 9"):
        attend_module(module, x, x, x, carriers[0])


def test_none_means_what_it_means_to_transformers_sdpa() -> None:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    model, _ = ready("llama")
    module = sl.hf.patch(model).model.layers[0].self_attn
    torch.manual_seed(0)
    key = torch.randn(2, 2, 7, 8)
    for q_len in (1, 4, 7):
        for causally in (None, True, False):
            query = torch.randn(2, 4, q_len, 8)
            own, _ = sdpa_attention_forward(module, query, key, key, None, is_causal=causally)
            ours, _ = attend_module(module, query, key, key, None, is_causal=causally)
            assert torch.allclose(own, ours, atol=1e-6)


def test_an_extra_mask_is_refused_where_it_would_fall_on_several_sequences() -> None:
    model, _ = ready("bart")
    with pytest.raises(CannotExpress, match="more than one kind of sequence"):
        sl.hf.patch(model, mask=sl.window(left=3))
    assert model.config._attn_implementation == "sdpa"


def composite() -> tuple[Any, dict[str, Any]]:
    """A model of text and images."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
    vision = transformers.CLIPVisionConfig(
        **sizes, num_hidden_layers=2, image_size=16, patch_size=8
    )
    text = transformers.LlamaConfig(**sizes, num_hidden_layers=2, vocab_size=97)
    config = transformers.LlavaConfig(vision_config=vision, text_config=text, image_token_id=96)
    tokens = torch.randint(3, 96, (2, 10))
    tokens[:, 2:6] = 96
    valid = torch.ones_like(tokens)
    valid[1, :2] = 0
    given = {
        "input_ids": tokens,
        "attention_mask": valid,
        "pixel_values": torch.randn(2, 3, 16, 16),
    }
    return transformers.LlavaForConditionalGeneration(config).eval(), given


def test_a_composite_model_as_a_whole_and_in_part() -> None:
    model, given = composite()
    real = given["attention_mask"] == 1
    with torch.no_grad():
        own = model(**given).logits
        sl.hf.patch(model)
        assert float((model(**given).logits - own)[real].abs().max()) < 1e-5
        assert len(sl.hf.explain(model).seen) == 2
        with pytest.raises(CannotExpress, match="more than one kind of sequence"):
            sl.hf.patch(model, mask=sl.window(left=2))
        sl.hf.unpatch(model)
        part = sl.hf.patch(model.model.language_model, mask=sl.window(left=2))
        assert float((model(**given).logits - own)[real].abs().max()) > 1e-3
        assert model.config.vision_config._attn_implementation == "sdpa"
        sl.hf.unpatch(part)
        assert torch.equal(model(**given).logits, own)


def test_modules_that_attend_alone_are_kept_only_on_request() -> None:
    name = "siglip with a pooling head"
    model, given = ready(name)
    with torch.no_grad():
        own = model(**given).pooler_output
        with pytest.raises(CannotExpress, match="PoolingHead"):
            sl.hf.patch(model)
        sl.hf.patch(model, others="keep")
        found = model(**given).pooler_output
    assert torch.allclose(own, found, rtol=1e-4, atol=1e-4)
    assert "as they were: 1 x SiglipMultiheadAttentionPoolingHead" in str(sl.hf.explain(model))
