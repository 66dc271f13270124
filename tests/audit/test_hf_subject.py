"""Models of transformers under audit: what is promised, how they are run, and planted faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sightline as sl

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5")

from sightline.audit.hf.conditions import OWN_CODE, attended_by, implementations, using  # noqa: E402
from sightline.audit.hf.doubled import doubled  # noqa: E402
from sightline.audit.hf.inputs import feed_for, length_for, words_of  # noqa: E402
from sightline.audit.hf.subject import (  # noqa: E402
    TransformersSubject,
    contract_for,
    is_transformers,
    promises_causal,
)
from sightline.audit.hf.tiny import tiny  # noqa: E402
from sightline.audit.probing.torch_conditions import valid_rows  # noqa: E402
from sightline.errors import InvalidArgument  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


def named(model: str, **overrides: Any) -> Any:
    return tiny(getattr(transformers, model), **overrides)


def seen(model: Any) -> list[str]:
    subject = TransformersSubject(model)
    feed = feed_for(subject.model, batch=3, length=11, vocab=None, seed=0)
    return [each.name for each in subject.conditions(feed)]


# -- what is promised ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        ("LlamaForCausalLM", True),
        ("LlamaModel", True),  # its family decodes
        ("GPT2Model", True),
        ("Qwen3VLTextModel", True),  # by its modules
        ("BertForMaskedLM", False),
        ("BertModel", False),
        ("BertLMHeadModel", True),
        ("T5EncoderModel", False),
        ("BartForConditionalGeneration", False),  # as a whole
    ],
)
def test_decoders_are_known(model: str, wanted: bool) -> None:
    assert promises_causal(named(model)) is wanted


def test_contracts() -> None:
    assert contract_for(named("LlamaForCausalLM")) == sl.causal()
    assert contract_for(named("BertForMaskedLM")) == sl.everything()
    assert contract_for(named("UMT5EncoderModel")) == sl.everything()
    assert contract_for(named("T5ForConditionalGeneration")) == {
        "input_ids": sl.everything(),
        "decoder_input_ids": sl.causal(),
    }


def test_what_is_of_transformers() -> None:
    model = named("LlamaForCausalLM")
    for what in (model, model.config, type(model), type(model.config), "config.json", Path("x")):
        assert is_transformers(what)
    for what in (torch.nn.Linear(3, 5), torch.nn.Linear, np.zeros(3), len):
        assert not is_transformers(what)


# -- what it is run on -----------------------------------------------------------------------------


def test_special_tokens_are_not_among_the_words() -> None:
    model = named("LlamaForCausalLM", pad_token_id=7, eos_token_id=[11, 12])
    words = words_of(model)
    assert not {1, 7, 11, 12} & set(words.tolist())
    assert 10 in words
    assert words.max() == 96


def test_the_length_is_beyond_chunks_that_only_the_code_knows() -> None:
    assert length_for(named("Qwen3NextForCausalLM")) == 67
    assert length_for(named("LlamaForCausalLM")) == 37
    assert length_for(named("MistralForCausalLM", sliding_window=29)) == 61


def test_the_decoder_gets_fewer_tokens() -> None:
    feed = feed_for(named("T5ForConditionalGeneration"), batch=3, length=11, vocab=None, seed=0)
    shapes = {name: each.values.shape for name, each in feed.inputs.items()}
    assert shapes == {"input_ids": (3, 11), "decoder_input_ids": (3, 8)}


def test_models_of_other_things_are_refused_in_words() -> None:
    vision = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=16, patch_size=4
    )
    with pytest.raises(InvalidArgument, match="reads pixel_values"):
        sl.audit(transformers.ViTModel(vision))


# -- how it is run ---------------------------------------------------------------------------------


def test_conditions_of_a_decoder() -> None:
    names = seen(named("LlamaForCausalLM"))
    assert names[0] == "sdpa"
    for implementation in ("sdpa", "eager"):
        for form in ("ones", "left-padded", "right-padded", "4-D"):
            assert f"{implementation}, attention_mask={form}" in names
    assert {"train", "with gradients", "use_cache=False", "eager, output_attentions=True"} < {
        *names
    }


def test_conditions_of_an_encoder_and_of_code_without_a_choice() -> None:
    assert not [name for name in seen(named("BertForMaskedLM")) if "4-D" in name]
    assert implementations(named("BloomForCausalLM")) == [OWN_CODE]


def test_parts_that_attend_otherwise_get_the_mask_that_they_take() -> None:
    model = named("Gemma3ForConditionalGeneration")
    model.config.text_config._attn_implementation = "eager"  # the whole still says sdpa
    assert attended_by(model) == {"eager", "sdpa"}
    report = sl.audit(model, conditions=["sdpa, attention_mask=4-D"])
    assert report.ok, report.findings
    assert report.conditions == ("sdpa, attention_mask=4-D",)


def test_a_model_is_left_as_it_was() -> None:
    model = named("LlamaForCausalLM").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert sl.audit(model, conditions=["sdpa", "eager", "train"]).ok
    assert model.training
    assert model.config._attn_implementation == "sdpa"
    assert next(model.parameters()).dtype == torch.float32
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_implementation_is_put_back() -> None:
    model = named("LlamaForCausalLM")
    with using(model, "eager"):
        assert model.config._attn_implementation == "eager"
    assert model.config._attn_implementation == "sdpa"


def test_float64_stays_float64() -> None:
    scores = torch.zeros(2, 3, dtype=torch.float64)
    with doubled():
        assert scores.to(torch.float32).dtype == torch.float64
        assert torch.softmax(scores, -1, dtype=torch.float32).dtype == torch.float64
        assert torch.zeros(3).dtype == torch.float64
    assert scores.to(torch.float32).dtype == torch.float32
    assert torch.zeros(3).dtype == torch.float32


def test_empty_rows_of_left_padding_are_no_finding_of_float64() -> None:
    report = sl.audit(named("LlamaForCausalLM"), conditions=["eager, attention_mask=left-padded"])
    assert report.ok
    assert report.dtype == "float64"


# -- right models are silent, wrong ones are not ---------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    ["GPT2LMHeadModel", "Gemma3ForCausalLM", "BertForMaskedLM", "T5ForConditionalGeneration"],
)
def test_right_models_are_silent(model: str) -> None:
    report = sl.audit(named(model), passes=60)
    assert report.ok, report.findings
    assert len(report.conditions) > 10
    assert not [note for note in report.notes if note.startswith("not run")]


def test_a_config_a_class_and_a_file(tmp_path: Path) -> None:
    config = transformers.MistralConfig(sliding_window=4096)
    config.save_pretrained(tmp_path)
    for what in (config, transformers.MistralConfig, transformers.MistralForCausalLM, tmp_path):
        report = sl.audit(what, conditions=["sdpa"])
        assert report.ok
        assert report.subject == "MistralForCausalLM (tiny, random weights)"


def test_a_contract_that_is_tighter_than_the_model_is_broken() -> None:
    config = transformers.MistralConfig(sliding_window=4)
    report = sl.audit(config, sl.causal() & sl.window(left=3), conditions=["sdpa"])
    assert not report.ok, "two layers of a window see further than one"


def test_a_layer_that_sdpa_runs_without_its_mask() -> None:
    model = named("LlamaForCausalLM")
    model.model.layers[1].self_attn.is_causal = False
    conditions = ["sdpa", "sdpa, attention_mask=left-padded", "eager"]
    (finding,) = sl.audit(model, conditions=conditions).findings
    assert finding.kind == "leak"
    assert "sdpa" in finding.conditions
    assert "eager" in finding.held
    assert "sdpa, attention_mask=left-padded" in finding.held


class Deaf(transformers.BertForMaskedLM):
    """Takes a mask and does nothing with it."""

    def forward(self, input_ids: Any = None, attention_mask: Any = None, **options: Any) -> Any:
        return super().forward(input_ids, **options)


def test_an_encoder_that_reads_padding() -> None:
    model = Deaf(named("BertForMaskedLM").config)
    (finding,) = sl.audit(model).findings
    assert {each for each in finding.conditions if "padded" in each} == {*finding.conditions}
    assert len(finding.conditions) == 4
    assert "sdpa, attention_mask=ones" in finding.held
    pads = valid_rows(finding.pairs[0].batch + 1, 37, "left")[-1]
    for pair in finding.pairs:
        assert pads[pair.query], "a pair of padding itself"
        assert not pads[pair.key], "a pair that is allowed"


class Ahead(transformers.BartForConditionalGeneration):
    """Its decoder sees the next token."""

    def forward(self, decoder_input_ids: Any = None, **options: Any) -> Any:
        out = super().forward(decoder_input_ids=decoder_input_ids, **options)
        out.logits = out.logits + out.logits.roll(-1, dims=1)
        return out


def test_a_decoder_behind_an_encoder_that_looks_ahead() -> None:
    model = Ahead(named("BartForConditionalGeneration").config)
    (finding,) = sl.audit(model, conditions=["sdpa", "eager"]).findings
    assert finding.input == "decoder_input_ids"
    assert finding.output == "logits"
