"""``sl.hf.unpad``: the same outputs at real tokens without the padding, or a refusal by name."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch

import sightline as sl

transformers = pytest.importorskip("transformers")

WIDTHS = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 60,
}
LENGTHS = (7, 2, 10, 5)


def bert(kind: str = "BertModel", **more: Any) -> Any:
    return build(kind, "BertConfig", **WIDTHS, **more)


def roberta() -> Any:
    return build("RobertaModel", "RobertaConfig", **WIDTHS, max_position_embeddings=64)


def distilbert() -> Any:
    sizes = {"dim": 32, "n_heads": 4, "n_layers": 2, "hidden_dim": 48, "vocab_size": 60}
    return build("DistilBertModel", "DistilBertConfig", **sizes)


def gpt2(kind: str = "GPT2LMHeadModel") -> Any:
    sizes = {"n_embd": 32, "n_head": 4, "n_layer": 2, "vocab_size": 60, "pad_token_id": 0}
    ends = {"bos_token_id": 1, "eos_token_id": 2}
    return build(kind, "GPT2Config", **sizes, **ends)


def llama() -> Any:
    return build("LlamaForCausalLM", "LlamaConfig", **WIDTHS, num_key_value_heads=2)


def mistral() -> Any:
    sizes = {**WIDTHS, "num_key_value_heads": 2, "sliding_window": 3}
    return build("MistralForCausalLM", "MistralConfig", **sizes)


def opt() -> Any:
    sizes = {"hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    more = {"vocab_size": 60, "word_embed_proj_dim": 32, "max_position_embeddings": 64}
    return build("OPTForCausalLM", "OPTConfig", **sizes, **more)


def bart() -> Any:
    sides = {f"{side}_{what}": size for side in ("encoder", "decoder") for what, size in
             {"ffn_dim": 48, "layers": 2, "attention_heads": 4}.items()}  # fmt: skip
    return build("BartModel", "BartConfig", d_model=32, vocab_size=60, **sides)


def build(kind: str, config: str, **sizes: Any) -> Any:
    torch.manual_seed(len(kind))
    model = getattr(transformers, kind)(getattr(transformers, config)(**sizes)).eval()
    for name, weight in model.named_parameters():  # what is initialised at 0 would hide faults
        if weight.ndim == 1 and "norm" not in name.lower():
            torch.nn.init.normal_(weight, std=0.1)
    return model


def call(side: str, pad: int = 0) -> tuple[sl.Batch, dict[str, torch.Tensor]]:
    batch = sl.Batch.from_lengths(LENGTHS, side=side)
    ids = torch.randint(3, 60, (batch.real,), generator=torch.Generator().manual_seed(5))
    tokens = batch.scatter(ids, fill=pad)
    return batch, {"input_ids": tokens, "attention_mask": batch.valid.long()}


def first(output: Any) -> torch.Tensor:
    return output[0] if "logits" not in output else output.logits


BACKBONES = {
    "bert": bert,
    "bert for masked words": lambda: bert("BertForMaskedLM"),
    "distilbert": distilbert,
    "gpt2": gpt2,
    "llama": llama,
    "mistral": mistral,
    "opt": opt,
}


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("make", BACKBONES.values(), ids=BACKBONES)
def test_real_tokens_get_what_they_got(make, side) -> None:
    model = make()
    batch, inputs = call(side)
    with torch.no_grad():
        wanted = first(model(**inputs))
        found = first(sl.hf.unpad(model)(**inputs))
    assert found.shape == wanted.shape
    torch.testing.assert_close(batch.gather(found), batch.gather(wanted), rtol=0, atol=1e-5)


def rows_seen(model: Any) -> list[tuple[int, ...]]:
    """Return the shapes that the model's first linear layer will be given."""
    shapes: list[tuple[int, ...]] = []
    linear = next(each for each in model.modules() if type(each).__name__ in ("Linear", "Conv1D"))
    linear.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape[:2])))
    return shapes


@pytest.mark.parametrize("make", [bert, gpt2, bart], ids=["bert", "gpt2", "bart"])
def test_the_layers_get_no_padding(make) -> None:
    model = sl.hf.unpad(make())
    shapes = rows_seen(model)
    batch, inputs = call("right")
    model(**inputs)
    assert shapes[0] == (1, batch.real)


def test_a_pooler_gets_the_first_token_of_each_row() -> None:
    model = bert()
    batch, inputs = call("right")
    wanted = model(**inputs, output_hidden_states=True)
    found = sl.hf.unpad(model)(**inputs, output_hidden_states=True)
    torch.testing.assert_close(found.pooler_output, wanted.pooler_output, rtol=0, atol=1e-5)
    assert len(found.hidden_states) == len(wanted.hidden_states)
    for got, want in zip(found.hidden_states, wanted.hidden_states, strict=True):
        torch.testing.assert_close(batch.gather(got), batch.gather(want), rtol=0, atol=1e-5)
    assert "pooler on padded rows" in sl.hf.how_unpadded(model)
    # From the left, column 0 is padding: such a call runs as it did.
    batch, inputs = call("left")
    shapes = rows_seen(model)
    model(**inputs)
    assert shapes[0] == (batch.rows, batch.length)


def test_positions_that_count_from_the_padding_id() -> None:
    model = roberta()
    batch, inputs = call("right", pad=1)
    wanted = model(**inputs).last_hidden_state
    found = sl.hf.unpad(model)(**inputs).last_hidden_state
    torch.testing.assert_close(batch.gather(found), batch.gather(wanted), rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [gpt2, lambda: bert("BertForMaskedLM")], ids=["gpt2", "bert"])
def test_loss_and_gradients_are_those_of_the_padded_run(make) -> None:
    model, unpadded = make(), sl.hf.unpad(make())
    unpadded.load_state_dict(model.state_dict())
    batch, inputs = call("right")
    labels = inputs["input_ids"].masked_fill(~batch.valid, -100)
    shapes = rows_seen(unpadded)
    losses = []
    for each in (model, unpadded):
        each.train()  # with dropout off
        for part in each.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
        each.config.attention_probs_dropout_prob = 0.0
        each.zero_grad()
    for name, part in [*model.named_modules(), *unpadded.named_modules()]:
        for rate in ("attention_dropout", "dropout_prob"):
            if isinstance(getattr(part, rate, None), float):
                setattr(part, rate, 0.0)
        assert name is not None
    for each in (model, unpadded):
        loss = each(**inputs, labels=labels).loss
        loss.backward()
        losses.append(loss.detach())
    assert shapes[-1] == (1, batch.real)
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=0)
    for (name, a), b in zip(model.named_parameters(), unpadded.parameters(), strict=True):
        if a.grad is None:
            assert b.grad is None or not b.grad.abs().max(), name
            continue
        torch.testing.assert_close(b.grad, a.grad, rtol=0, atol=1e-5, msg=name)


def test_labels_behind_left_padding_run_padded() -> None:
    """The padding before a row predicts its first token there; no packed row could."""
    model = gpt2()
    batch, inputs = call("left")
    labels = inputs["input_ids"].masked_fill(~batch.valid, -100)
    wanted = model(**inputs, labels=labels).loss
    found = sl.hf.unpad(model)(**inputs, labels=labels).loss
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=0)


def test_what_pools_in_its_head_runs_its_backbone_unpadded() -> None:
    model = gpt2("GPT2ForSequenceClassification")
    _, inputs = call("right")
    wanted = model(**inputs).logits
    found = sl.hf.unpad(model)(**inputs).logits
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    assert sl.hf.how_unpadded(model).startswith("transformer runs")


def test_the_encoder_of_an_encoder_decoder() -> None:
    model = bart()
    _, inputs = call("right")
    target = torch.randint(3, 60, (len(LENGTHS), 6))
    wanted = model(**inputs, decoder_input_ids=target).last_hidden_state
    found = sl.hf.unpad(model)(**inputs, decoder_input_ids=target).last_hidden_state
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_what_stands_at_padding_changes_no_bit() -> None:
    model = sl.hf.unpad(bert())
    batch, inputs = call("right")
    _, other = call("right", pad=33)
    with torch.no_grad():
        a, b = (first(model(**each)) for each in (inputs, other))
    assert torch.equal(a, b)
    assert not a[~batch.valid].any()


def test_sequences_do_not_see_each_other() -> None:
    model = sl.hf.unpad(llama())
    batch, inputs = call("right")
    changed = {**inputs, "input_ids": inputs["input_ids"].clone()}
    changed["input_ids"][2] = 7
    with torch.no_grad():
        a, b = (batch.split(model(**each).logits) for each in (inputs, changed))
    for row, (one, two) in enumerate(zip(a, b, strict=True)):
        assert torch.equal(one, two) == (row != 2)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"output_attentions": True}, id="weights"),
        pytest.param({"use_cache": True}, id="cache"),
        pytest.param({"gap": True}, id="gap"),
        pytest.param({"full": True}, id="no padding"),
    ],
)
def test_calls_that_cannot_be_packed_run_as_they_did(change) -> None:
    model, unpadded = llama(), sl.hf.unpad(llama())
    _, inputs = call("right")
    if change.pop("gap", False):
        inputs["attention_mask"][0, 2] = 0
    if change.pop("full", False):
        inputs["attention_mask"] = torch.ones_like(inputs["attention_mask"])
    wanted, found = (each(**inputs, **change) for each in (model, unpadded))
    valid = inputs["attention_mask"].bool()
    torch.testing.assert_close(found.logits[valid], wanted.logits[valid], rtol=0, atol=1e-5)
    if "use_cache" in change:
        assert found.past_key_values.get_seq_length() == valid.shape[1]


def test_generating_goes_on_working() -> None:
    model = llama()
    _, inputs = call("left")
    asked = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    wanted = model.generate(**inputs, **asked)
    assert torch.equal(sl.hf.unpad(model).generate(**inputs, **asked), wanted)


def test_gradient_checkpointing() -> None:
    model = sl.hf.unpad(llama())
    batch, inputs = call("right")
    labels = inputs["input_ids"].masked_fill(~batch.valid, -100)
    grads = []
    for checkpointing in (False, True):
        model.train()
        model.zero_grad()
        if checkpointing:
            model.activation_checkpointing_enable()
        model(**inputs, labels=labels).loss.backward()
        grads.append([weight.grad.clone() for weight in model.parameters()])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-7)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own
def test_compiled_for_any_lengths() -> None:
    model = sl.hf.unpad(bert())
    compiled = torch.compile(model)
    with torch.no_grad():
        for lengths in (LENGTHS, (3, 10, 8, 1), (10, 10, 4, 2)):
            batch = sl.Batch.from_lengths(lengths)
            ids = batch.scatter(torch.arange(batch.real) % 57 + 3)
            inputs = {"input_ids": ids, "attention_mask": batch.valid.long()}
            found, wanted = first(compiled(**inputs)), first(model(**inputs))
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_copies_and_going_back() -> None:
    model = sl.hf.unpad(bert())
    batch, inputs = call("right")
    wanted = first(model(**inputs))
    copy = deepcopy(model)
    for weight in model.parameters():
        torch.nn.init.zeros_(weight)
    assert torch.equal(first(copy(**inputs)), wanted)
    sl.hf.repad(copy)
    shapes = rows_seen(copy)
    copy(**inputs)
    assert shapes[0] == (batch.rows, batch.length)
    assert "with their padding" in sl.hf.how_unpadded(copy)


def test_an_error_inside_leaves_no_trace() -> None:
    model = sl.hf.unpad(bert())
    batch, inputs = call("right")
    wanted = first(model(**inputs))
    handle = model.encoder.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model(**inputs)
    handle.remove()
    assert torch.equal(first(model(**inputs)), wanted)
    full = {**inputs, "attention_mask": torch.ones_like(inputs["attention_mask"])}
    assert first(model(**full)).shape[:2] == (batch.rows, batch.length)


def test_another_attention_set_behind_our_back_is_refused_not_run_packed() -> None:
    model = sl.hf.unpad(bert())
    _, inputs = call("right")
    wanted = first(model(**inputs))
    model.set_attn_implementation("sdpa")
    with pytest.raises(sl.CannotExpress, match="packed rows of a batch would read each other"):
        model(**inputs)
    sl.hf.patch(model)
    assert torch.equal(first(model(**inputs)), wanted)


# -- refusals ---------------------------------------------------------------------------------


class _Before(torch.nn.Module):
    """Adds to each token what stands before it in its row."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.1 * x.cumsum(1)


class _Mean(torch.nn.Module):
    """Adds to each token the mean of its row, padding included."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + x.mean(1, keepdim=True)


def test_a_module_that_looks_at_its_row_gets_padded_rows() -> None:
    model = bert()
    model.encoder.layer[0].output.dropout = _Before()
    batch, inputs = call("right")
    wanted = first(model(**inputs))
    found = first(sl.hf.unpad(model)(**inputs))
    torch.testing.assert_close(batch.gather(found), batch.gather(wanted), rtol=0, atol=1e-5)
    assert "encoder.layer.0.output.dropout, pooler on padded rows" in sl.hf.how_unpadded(model)


def test_a_module_whose_result_needs_the_padding_is_named() -> None:
    model = bert()
    model.encoder.layer[0].output.dropout = _Mean()
    with pytest.raises(sl.CannotExpress, match=r"layer\.0\.output\.dropout gives"):
        sl.hf.unpad(model)
    batch, inputs = call("right")
    assert first(model(**inputs)).shape[:2] == (batch.rows, batch.length)


def test_a_convolution_is_refused_by_type_even_if_it_does_nothing() -> None:
    model = bert()

    class Still(torch.nn.Conv1d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    model.encoder.layer[1].output.dropout = Still(32, 32, 3)
    with pytest.raises(sl.CannotExpress, match=r"layer\.1\.output\.dropout \(Still\) mixes"):
        sl.hf.unpad(model)


def test_relative_positions_counted_in_columns_are_refused() -> None:
    config = transformers.T5Config(
        d_model=32, d_ff=48, num_layers=2, num_heads=4, d_kv=8, vocab_size=60
    )
    model = transformers.T5ForConditionalGeneration(config)
    with pytest.raises(sl.CannotExpress, match="SelfAttention gives something else"):
        sl.hf.unpad(model)
