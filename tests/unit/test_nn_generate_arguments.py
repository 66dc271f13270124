"""What ``generate`` reads and what it refuses: prompts in every form, options, caches, models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import sightline as sl  # noqa: E402
from sightline.models.gpt import GPT, GPTConfig  # noqa: E402
from sightline.nn.generation.prompts import read_prompts  # noqa: E402

RAGGED = [[5, 6], [7, 8, 9], [4]]


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(0)
    return GPT(GPTConfig(vocab=11, layers=2, heads=4, kv_heads=2, width=32, context=16))


def generate(model: Any, prompts: Any = RAGGED, **options: Any) -> Any:
    return sl.nn.generate(model, prompts, **{"max_new_tokens": 4, **options})


class Batch:
    def sequences(self) -> list[Any]:
        return [torch.tensor(row) for row in RAGGED]


FORMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "lists": (RAGGED, {}),
    "arrays": ([np.array(row, dtype=np.int32) for row in RAGGED], {}),
    "tensors": (tuple(torch.tensor(row) for row in RAGGED), {}),
    "right": (torch.tensor([[5, 6, 1], [7, 8, 9], [4, 2, 3]]), {"lengths": [2, 3, 1]}),
    "left": (
        torch.tensor([[1, 5, 6], [7, 8, 9], [2, 3, 4]]),
        {"lengths": torch.tensor([2, 3, 1]), "side": "left"},
    ),
    "array": (np.array([[5, 6, 1], [7, 8, 9], [4, 2, 3]]), {"lengths": np.array([2, 3, 1])}),
    "batch": (Batch(), {}),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_prompts_says_the_same(form: str, model: GPT) -> None:
    prompts, options = FORMS[form]
    assert [row.tolist() for row in read_prompts(prompts, **options)] == RAGGED
    found, wanted = generate(model, prompts, **options), generate(model)
    assert all(map(torch.equal, found.tokens, wanted.tokens))


BAD_PROMPTS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "none": ([], {}, "no prompts"),
    "empty": ([[1], []], {}, "empty prompt at row 1"),
    "empty by length": (torch.ones(2, 3).long(), {"lengths": [3, 0]}, "empty prompt at row 1"),
    "text": (["abc"], {}, "prompt 0"),
    "one text": ("abc", {}, "type str"),
    "flat": ([1, 2, 3], {}, r"\[prompt\]"),
    "fractions": ([[0.5, 1.0]], {}, "float64"),
    "negative": ([[1, -100]], {}, "-100"),
    "one axis": (torch.tensor([1, 2]), {}, r"prompts\[None\]"),
    "lengths of a list": (RAGGED, {"lengths": [2, 3, 1]}, "padded tensor only"),
    "too long": (torch.ones(2, 3).long(), {"lengths": [3, 4]}, "1 to 3"),
    "too few lengths": (torch.ones(2, 3).long(), {"lengths": [3]}, "wanted 2 numbers"),
    "side": (torch.ones(2, 3).long(), {"side": "top"}, "side='top'"),
}


@pytest.mark.parametrize("case", BAD_PROMPTS)
def test_bad_prompts(case: str, model: GPT) -> None:
    prompts, options, message = BAD_PROMPTS[case]
    with pytest.raises((sl.InvalidArgument, sl.ShapeMismatch), match=message):
        generate(model, prompts, **options)


BAD_OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "strategy": ({"strategy": "best"}, "strategy='best'"),
    "no tokens": ({"max_new_tokens": 0}, "max_new_tokens=0"),
    "half a token": ({"max_new_tokens": 1.5}, "max_new_tokens=1.5"),
    "cold": ({"strategy": "sample", "temperature": 0.0}, "temperature=0.0"),
    "nan": ({"strategy": "sample", "temperature": float("nan")}, "temperature=nan"),
    "top_p": ({"strategy": "sample", "top_p": 1.1}, "top_p=1.1"),
    "no share": ({"strategy": "sample", "top_p": 0.0}, "top_p=0.0"),
    "top_k": ({"strategy": "sample", "top_k": 0}, "top_k=0"),
    "greedy temperature": ({"temperature": 0.5}, "strategy='sample' only"),
    "greedy top_p": ({"top_p": 0.5}, "strategy='sample' only"),
    "greedy beams": ({"beams": 2}, "strategy='beam' only"),
    "beam top_k": ({"strategy": "beam", "beams": 2, "top_k": 3}, "strategy='sample' only"),
    "eos": ({"eos": "end"}, "eos='end'"),
    "negative eos": ({"eos": [1, -1]}, "eos="),
    "chunk": ({"prefill_chunk": 0}, "prefill_chunk=0"),
    "seed": ({"strategy": "sample", "seed": -1}, "seed=-1"),
    "seeds": ({"strategy": "sample", "seed": [1, 2]}, "each of the 3 prompts"),
    "context": ({"max_new_tokens": 15}, "a context of 16"),
    "branches": ({"draft_branches": 2}, "no draft"),
    "draft": ({"draft": 3}, "draft of type int"),
    "beam draft": ({"strategy": "beam", "beams": 2, "draft": list}, "draft= with strategy='beam'"),
    "bad draft": ({"draft": lambda tokens: [-3]}, r"draft \[-3\]"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options(case: str, model: GPT) -> None:
    options, message = BAD_OPTIONS[case]
    with pytest.raises((sl.InvalidArgument, sl.ShapeMismatch), match=message):
        generate(model, **options)


def test_the_longest_that_fits(model: GPT) -> None:
    assert generate(model, max_new_tokens=14).lengths.tolist() == [14, 14, 14]


def test_caches_that_do_not_fit(model: GPT) -> None:
    with pytest.raises(sl.ShapeMismatch, match="3 prompts and a cache of 2 rows"):
        generate(model, cache=model.new_cache(2, 16))
    with pytest.raises(sl.ShapeMismatch, match="a cache of 5"):
        generate(model, cache=model.new_cache(3, 5))
    with pytest.raises(sl.InvalidArgument, match="cache= with strategy='beam'"):
        generate(model, cache=model.new_cache(3, 16), strategy="beam", beams=2)


def test_models_without_the_face() -> None:
    with pytest.raises(sl.InvalidArgument, match="new_cache"):
        generate(torch.nn.Linear(2, 2))

    class Theirs(torch.nn.Linear):
        def generate(self) -> None: ...

    with pytest.raises(sl.InvalidArgument, match=r"its own generate, after sl\.hf\.patch"):
        generate(Theirs(2, 2))


def test_a_models_mask_must_not_tell_rows_apart() -> None:
    mask = sl.causal() & sl.padding(lengths=[2, 3, 1])
    model = GPT(GPTConfig(vocab=11, layers=1, heads=2, width=16, context=16, mask=mask))
    with pytest.raises(sl.InvalidArgument, match="3 batch rows"):
        generate(model)


def test_branches_need_a_model_that_takes_masks(model: GPT) -> None:
    class Plain:
        new_cache = model.new_cache

        def __call__(self, tokens: Any, *, cache: Any = None) -> Any:
            return model(tokens, cache=cache)

    guess = {"draft": lambda tokens: [[1], [2]]}
    with pytest.raises(sl.InvalidArgument, match="without mask and positions"):
        generate(Plain(), draft_branches=2, **guess)
    found, wanted = generate(Plain(), **guess), generate(model)
    assert all(map(torch.equal, found.tokens, wanted.tokens))


BAD_CONFIGS: dict[str, dict[str, Any]] = {
    "heads": {"heads": 3},
    "kv_heads": {"kv_heads": 3},
    "layers=0": {"layers": 0},
    "positions": {"positions": "sine"},
    "head_dim": {"positions": "rotary", "heads": 32, "kv_heads": 32},
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_bad_configurations(case: str) -> None:
    with pytest.raises(sl.InvalidArgument, match=case):
        GPTConfig(**{"vocab": 7, "layers": 2, "heads": 4, "width": 32, **BAD_CONFIGS[case]})


def test_tokens_of_another_shape_are_refused(model: GPT) -> None:
    with pytest.raises(sl.ShapeMismatch, match=r"tokens\[None\]"):
        model(torch.tensor([1, 2]))
    with pytest.raises(sl.ShapeMismatch, match="context=16"):
        model(torch.ones(2, 17).long())
    with pytest.raises(sl.ShapeMismatch, match="context=16"):
        model(torch.ones(2, 3).long(), positions=torch.tensor([[14, 15, 16]]))
    with pytest.raises(sl.ShapeMismatch, match="2 rows of tokens and a cache of 3"):
        model(torch.ones(2, 1).long(), cache=model.new_cache(3, 4).extend(1))
