"""Every text model of transformers as a tiny one: built, run, and as it was in structure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5")

from sightline.audit.hf.listing import CANNOT, UNLIKE, listed  # noqa: E402
from sightline.audit.hf.shrink import shrink  # noqa: E402
from sightline.audit.hf.tiny import tiny  # noqa: E402
from sightline.errors import DataError, InvalidArgument  # noqa: E402

MOST_WEIGHTS = 6_000_000
# Transformers warns of its own affairs while some of these are made.
pytestmark = pytest.mark.filterwarnings("ignore")


def run(model: Any, batch: int = 3, length: int = 11, target: int = 7) -> Any:
    given = {"input_ids": torch.randint(10, 64, (batch, length))}
    if model.config.is_encoder_decoder:
        given["decoder_input_ids"] = torch.randint(10, 64, (batch, target))
    with torch.no_grad():
        return model(**given)[0]


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "Gemma3ForCausalLM", "BertForMaskedLM"])
def test_a_tiny_model_runs(name: str) -> None:
    model = tiny(getattr(transformers, name))
    assert run(model).shape == (3, 11, 97)
    assert not model.training


def test_no_weight_is_zero_and_the_seed_decides() -> None:
    def weights(seed: int) -> dict[str, Any]:
        return dict(tiny(transformers.GPT2Config(), seed=seed).named_parameters())

    first, again, other = weights(3), weights(3), weights(4)
    for name, weight in first.items():
        assert (weight != 0).all(), name
        assert torch.equal(weight, again[name]), name
        assert not torch.equal(weight, other[name]), name


def test_the_global_random_numbers_stay_where_they_were() -> None:
    before = torch.get_rng_state()
    tiny(transformers.GPT2Config())
    assert torch.equal(before, torch.get_rng_state())


def test_one_layer_of_each_kind_stays() -> None:
    config = transformers.Gemma3TextConfig()
    assert config.num_hidden_layers == 26
    small = shrink(config)
    assert small.layer_types == ["sliding_attention", "full_attention"]
    assert small.num_hidden_layers == 2
    assert small.sliding_window == 5
    assert config.num_hidden_layers == 26, "the config that was given changed"


def test_layers_of_three_kinds_stay_three() -> None:
    config = transformers.Qwen3NextConfig(
        num_hidden_layers=5,
        mlp_only_layers=[1],
        layer_types=["linear_attention", "linear_attention", "full_attention"]
        + 2 * ["full_attention"],
    )
    small = shrink(config)
    assert small.layer_types == ["linear_attention", "linear_attention", "full_attention"]
    assert small.mlp_only_layers == [1]


def test_grouped_heads_stay_grouped_and_equal_ones_equal() -> None:
    heads = {"num_attention_heads": 32}
    grouped = shrink(transformers.LlamaConfig(**heads, num_key_value_heads=8))
    equal = shrink(transformers.LlamaConfig(**heads, num_key_value_heads=32))
    single = shrink(transformers.LlamaConfig(**heads, num_key_value_heads=1))
    assert [c.num_key_value_heads for c in (grouped, equal, single)] == [2, 4, 1]


def test_special_tokens_keep_out_of_the_words_and_of_each_other() -> None:
    config = shrink(transformers.Gemma3Config())
    ids = [config.image_token_id, config.boi_token_index, config.eoi_token_index]
    assert len(set(ids)) == 3
    assert all(64 <= each < 97 for each in ids)


def test_overrides_go_last_also_inside() -> None:
    config = shrink(transformers.Gemma3Config(), text_config={"sliding_window": 7})
    assert config.text_config.sliding_window == 7
    assert config.text_config.hidden_size == 32
    assert tiny(transformers.MistralConfig, sliding_window=3).config.sliding_window == 3


def test_a_class_of_decoders_is_built_as_a_decoder() -> None:
    assert tiny(transformers.BertLMHeadModel).config.is_decoder
    assert not tiny(transformers.BertConfig).config.is_decoder


def test_a_config_names_its_model() -> None:
    told = transformers.LlamaConfig(architectures=["LlamaForSequenceClassification"])
    assert type(tiny(told)).__name__ == "LlamaForSequenceClassification"
    assert type(tiny(transformers.BertConfig())).__name__ == "BertForMaskedLM"
    assert type(tiny(transformers.BertConfig(is_decoder=True))).__name__ == "BertLMHeadModel"
    assert type(tiny(transformers.T5Config())).__name__ == "T5ForConditionalGeneration"


def test_a_config_file(tmp_path: Path) -> None:
    transformers.MistralConfig(sliding_window=4096).save_pretrained(tmp_path)
    for path in (tmp_path, str(tmp_path / "config.json")):
        model = tiny(path)
        assert type(model).__name__ == "MistralForCausalLM"
        assert model.config.sliding_window == 5


def test_what_is_not_a_config(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        tiny(tmp_path / "nothing.json")
    unknown = tmp_path / "config.json"
    unknown.write_text(json.dumps({"model_type": "of-somebody"}))
    with pytest.raises(DataError, match="of-somebody"):
        tiny(unknown)
    unknown.write_text("[1, 2]")
    with pytest.raises(DataError, match="does not know"):
        tiny(unknown)
    with pytest.raises(InvalidArgument, match="wanted a config"):
        tiny(13)
    with pytest.raises(InvalidArgument, match="no model for"):
        tiny(transformers.PretrainedConfig())


@pytest.mark.slow
def test_every_class_runs_or_is_excused() -> None:
    failed: list[str] = []
    names: set[str] = set()
    for each in listed():
        names.add(each.name)
        if each.name in CANNOT:
            continue
        try:
            model = tiny(each.load())
            assert torch.isfinite(run(model).float()).all(), "not finite"
            assert sum(p.numel() for p in model.parameters()) < MOST_WEIGHTS, "not tiny"
        except Exception as error:  # all of them are named at once
            failed.append(f"{each.name}: {type(error).__name__}: {error}")
    assert not failed
    assert {*CANNOT, *UNLIKE} <= names, "an excuse for a class that is not there"
    assert not {*CANNOT} & {*UNLIKE}
    assert len(names) > 300


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(CANNOT) - {"VitsModel"}))  # that one takes minutes
def test_what_is_excused_cannot_run(name: str) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011, each has an error of its own
        run(tiny(getattr(transformers, name)))
