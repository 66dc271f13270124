"""A patched transformers model on shares of the tokens gives what it gives in one process."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import sightline as sl
from sightline.testing.ranks import RankPool

pytest.importorskip("transformers")

BATCH, LENGTH, VOCABULARY = 3, 64, 97
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", {}),
    "mistral": ("MistralForCausalLM", "MistralConfig", {"sliding_window": 9}),
    "gemma2": (
        "Gemma2ForCausalLM",
        "Gemma2Config",
        {"head_dim": 8, "sliding_window": 7, "attn_logit_softcapping": None},
    ),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", {"head_dim": 8}),
    "llama4": (
        "Llama4ForCausalLM",
        "Llama4TextConfig",
        {
            "head_dim": 8,
            "attention_chunk_size": 12,
            "num_local_experts": 2,
            "intermediate_size_mlp": 48,
        },
    ),
    "gpt_oss": (
        "GptOssForCausalLM",
        "GptOssConfig",
        {"head_dim": 8, "sliding_window": 9, "num_local_experts": 2, "num_experts_per_tok": 1},
    ),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 4}),
    "opt": ("OPTForCausalLM", "OPTConfig", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "bert": ("BertForMaskedLM", "BertConfig", {}),
    "roberta": ("RobertaForMaskedLM", "RobertaConfig", {}),
    "modernbert": (
        "ModernBertForMaskedLM",
        "ModernBertConfig",
        {"local_attention": 8, "global_attn_every_n_layers": 2, "cls_token_id": 1},
    ),
}
ENCODERS = "bert", "roberta", "modernbert"
PADS = {"left": (0, 21, 40), "right": (30, 0, 7)}


def build(name: str, **other: Any) -> Any:
    """Return a patched model with random weights, large enough that a wrong mask shows."""
    import transformers

    kind, config, sizes = MODELS[name]
    if name in ENCODERS:
        sizes = {"sep_token_id": 2, **sizes}
    torch.manual_seed(0)
    model = getattr(transformers, kind)(
        getattr(transformers, config)(**{**SIZES, **sizes, **other})
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3.0)
    return sl.hf.patch(model.eval())


def feed(kind: str, encoder: bool) -> dict[str, Any]:
    """Return a batch: plain, padded on a side, or packed by positions; with labels."""
    made = torch.Generator().manual_seed(1)
    ids = torch.randint(3, VOCABULARY, (BATCH, LENGTH), generator=made)
    labels = ids.clone()
    if encoder:
        labels[torch.rand(labels.shape, generator=made) < 0.8] = -100
    given = {"input_ids": ids, "labels": labels}
    if kind in PADS:
        valid = torch.ones_like(ids)
        for row, pads in enumerate(PADS[kind]):
            valid[row, slice(0, pads) if kind == "left" else slice(LENGTH - pads, None)] = 0
        given |= {"attention_mask": valid, "input_ids": ids * valid}
        labels[valid == 0] = -100
    elif kind == "packed":
        rows = [(20, 30, 14), (64,), (5, 59)]
        given["position_ids"] = torch.stack(
            [torch.cat([torch.arange(n) for n in lengths]) for lengths in rows]
        )
    return given


def recompute_layers(model: Any) -> Any:
    newer = getattr(model, "activation_checkpointing_enable", None)
    (newer or model.gradient_checkpointing_enable)()
    return model.train()


def gradients(model: Any) -> torch.Tensor:
    grads = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    return torch.cat(grads)


def differences(name: str, kind: str, **how: Any) -> list[float]:
    """Return how far logits, loss and gradients are from those of one process, on this rank."""
    import torch.distributed as dist

    checkpointing = how.pop("checkpointing", False)
    model = sl.hf.patch(build(name), mask=how.pop("mask", None))
    batch = feed(kind, name in ENCODERS)
    if "before" in how:  # what was kept from this batch must not be taken for the next
        other = feed(how.pop("before"), name in ENCODERS)
        with sl.distributed.hf_parallel(model, other) as share:
            model(**share)
    wanted = model(**batch, **({} if name in ENCODERS else {"use_cache": False}))
    wanted.loss.backward()
    want = gradients(model)
    if checkpointing:
        recompute_layers(model)
    with sl.distributed.hf_parallel(model, batch, **how) as share:
        output = model(**share)
        output.loss.backward()
    got, loss = gradients(model), output.loss.detach()
    for each in (got, loss):
        dist.all_reduce(each)
        each /= dist.get_world_size()
    logits = sl.distributed.unshard(output.logits.detach(), share.spread)
    real = batch.get("attention_mask", torch.ones(BATCH, LENGTH)) != 0
    pairs = (logits[real], wanted.logits[real]), (loss, wanted.loss), (got, want)
    return [float((a - b).abs().max() / b.abs().max()) for a, b in pairs]


CASES = [
    *[("llama", kind) for kind in ("plain", "left", "right", "packed")],
    *[("gemma2", kind) for kind in ("left", "packed")],
    *[(name, "packed") for name in ("mistral", "qwen3", "gpt2", "gpt_oss")],
    *[(name, "left") for name in ("llama4", "gpt2", "opt", "bert", "roberta")],
    *[(name, "right") for name in ("opt", "bert", "modernbert")],
]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_is_what_one_process_computes(two_ranks: RankPool, name: str, kind: str) -> None:
    for found in two_ranks.run(differences, name, kind):
        assert max(found) < 1e-4, found


def test_one_batch_after_another(two_ranks: RankPool) -> None:
    for found in two_ranks.run(differences, "mistral", "left", before="packed"):
        assert max(found) < 1e-4, found


def test_knows_masks_that_are_made_from_tokens() -> None:
    from transformers import masking_utils as made

    from sightline.hf.closures import reads_tokens

    ids = torch.tensor([[0, 0, 1]])
    causal, chunked = made.causal_mask_function, made.chunked_causal_mask_function
    assert not reads_tokens(made.sliding_window_causal_mask_function(4))
    assert not reads_tokens(chunked(4, torch.tensor([2])))
    assert reads_tokens(made.and_masks(causal, made.packed_sequence_mask_function(ids)))
    assert reads_tokens(made.or_masks(causal, made.blockwise_overlay(ids)))
    assert reads_tokens(made.or_masks(causal, lambda b, h, q, k: ids[0, q] == ids[0, k]))


def test_more_ranks_recompute_layers(four_ranks: RankPool) -> None:
    for found in four_ranks.run(differences, "gemma2", "packed", checkpointing=True):
        assert max(found) < 1e-4, found


def test_an_extra_mask_comes_on_top(two_ranks: RankPool) -> None:
    extra = sl.window(left=11) | sl.sinks(2)
    for found in two_ranks.run(differences, "gemma2", "packed", mask=extra):
        assert max(found) < 1e-4, found


def wrapped(how: str) -> list[float]:
    """Return how far the gradients that a wrapper averages are from those of one process."""
    import torch.distributed as dist
    from torch.distributed.fsdp import fully_shard
    from torch.nn.parallel import DistributedDataParallel

    model, batch = build("llama"), feed("left", encoder=False)
    model(**batch, use_cache=False).loss.backward()
    wanted = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    if how == "ddp":
        inner, model = model, DistributedDataParallel(model)
    else:
        from torch.distributed.device_mesh import init_device_mesh

        inner = fully_shard(model, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
    with sl.distributed.hf_parallel(model, batch) as share:
        model(**share).loss.backward()
    got = [getattr(p.grad, "full_tensor", lambda p=p: p.grad)() for p in inner.parameters()]
    return [float((a - b).abs().max() / b.abs().max()) for a, b in zip(got, wanted, strict=True)]


@pytest.mark.parametrize("how", ["ddp", "fsdp"])
def test_wrappers_average_to_the_gradient_of_one_process(two_ranks: RankPool, how: str) -> None:
    for found in two_ranks.run(wrapped, how):
        assert max(found) < 1e-4, found


def another_batch_on_each_rank() -> str:
    import torch.distributed as dist

    batch = feed("plain", encoder=False)
    batch["input_ids"][0, 7] += dist.get_rank()
    try:
        with sl.distributed.hf_parallel(build("llama"), batch):
            return "ran"
    except sl.RanksDisagree as error:
        return str(error)


def test_ranks_with_other_batches_are_named(two_ranks: RankPool) -> None:
    for said in two_ranks.run(another_batch_on_each_rank):
        assert "input_ids" in said


def refusals() -> dict[str, str]:
    """Return what is said about each call that a share of the tokens cannot give."""
    batch = feed("left", encoder=False)
    model = build("llama")

    def call(within: Any, model: Any = model, batch: Any = batch, **more: Any) -> Any:
        def run() -> None:
            with sl.distributed.hf_parallel(model, {**batch, **more}) as share:
                within(model, share)

        return run

    def ordinary(model: Any, share: Any) -> None:
        model(**share)

    def without(name: str) -> Any:
        return lambda model, share: model(**{k: v for k, v in share.items() if k != name})

    def bare() -> None:
        spread = sl.distributed.spread(sl.causal(), LENGTH)
        ids = sl.distributed.shard_batch(batch["input_ids"], spread)
        with sl.distributed.context_parallel(spread):
            model(ids, position_ids=spread.positions())

    def backward_outside() -> None:
        checked = recompute_layers(build("llama"))
        with sl.distributed.hf_parallel(checked, batch) as share:
            loss = checked(**share).loss
        loss.backward()

    def in_another(model: Any, share: Any) -> None:
        with sl.distributed.hf_parallel(build("llama"), feed("left", encoder=False)):
            model(**share)

    def unpacked() -> Any:
        return sl.hf.unpad(build("llama"))

    def local(model: Any, share: Any) -> None:
        model(**{**share, "attention_mask": torch.ones_like(share["input_ids"])})

    other = build("qwen3")
    given = {
        "no positions": call(without("position_ids")),
        "backbone without positions": call(lambda m, s: m.model(s["input_ids"])),
        "no attention mask": call(without("attention_mask")),
        "attention mask of the share": call(local),
        "generate": call(lambda m, s: m.generate(**s, max_new_tokens=2)),
        "cache asked in the batch": call(ordinary, use_cache=True),
        "cache asked": call(lambda m, s: m(**s, use_cache=True)),
        "weights": call(lambda m, s: m(**s, output_attentions=True)),
        "router": call(ordinary, output_router_logits=True),
        "last logits": call(ordinary, logits_to_keep=1),
        "four axes": call(ordinary, attention_mask=torch.ones(BATCH, 1, LENGTH, LENGTH)),
        "pictures": call(ordinary, pixel_values=torch.zeros(2, 3, 4, 4)),
        "bare context": bare,
        "another block": call(in_another),
        "another model": lambda: call(lambda _, share: other(**share))(),
        "own count": lambda: call(ordinary, build("llama4", no_rope_layers=[1, 0]))(),
        "pooled": lambda: call(ordinary, pooled())(),
        "two sequences": lambda: call(ordinary, translator())(),
        "backward outside": backward_outside,
        "unpadded": lambda: call(ordinary, unpacked())(),
        "not patched": lambda: call(ordinary, sl.hf.unpatch(build("llama")))(),
        "chunks in packed documents": lambda: call(
            ordinary, build("llama4"), feed("packed", encoder=False)
        )(),
        "stretched rotary": lambda: call(ordinary, build("llama", rope_scaling=STRETCHED))(),
        "weights by config": lambda: call(ordinary, build("llama", output_attentions=True))(),
    }
    found = {}
    for name, run in given.items():
        try:
            run()
            found[name] = "ran"
        except sl.SightlineError as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


def pooled() -> Any:
    import transformers

    return sl.hf.patch(transformers.BertModel(transformers.BertConfig(**SIZES)))


def translator() -> Any:
    import transformers

    sizes: dict[str, Any] = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1}
    return sl.hf.patch(transformers.BartModel(transformers.BartConfig(**sizes)))


STRETCHED = {"rope_type": "dynamic", "factor": 2.0}
SAID = {
    "no positions": "without its share's position_ids",
    "backbone without positions": "without its share's position_ids",
    "no attention mask": "a call without attention_mask",
    "attention mask of the share": "keys",
    "generate": "generate()",
    "cache asked in the batch": "use_cache=",
    "cache asked": "use_cache=",
    "weights": "output_attentions=",
    "router": "output_router_logits=",
    "last logits": "logits_to_keep=",
    "four axes": "attention_mask of shape",
    "pictures": "pixel_values of shape",
    "another block": "sl.distributed.hf_parallel",
    "another model": "sl.distributed.hf_parallel",
    "own count": "counts the tokens at hand",
    "pooled": "pooler of BertModel",
    "two sequences": "two sequences",
    "bare context": "sl.distributed.hf_parallel",
    "backward outside": "inside the same sl.distributed.hf_parallel block",
    "unpadded": "sl.hf.repad",
    "not patched": "sl.hf.patch(model)",
    "chunks in packed documents": "inside packed documents",
    "stretched rotary": "'dynamic'",
    "weights by config": "output_attentions",
}


def test_refuses_by_name(two_ranks: RankPool) -> None:
    for found in two_ranks.run(refusals):
        assert found.keys() == SAID.keys()
        for name, words in SAID.items():
            assert words in found[name], (name, found[name])
