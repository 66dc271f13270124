"""The guilty module, operation and line of models that leak; None for right ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sightline.audit.locating.localize import Located, locate, look
from sightline.audit.probing.feed import Feed, Input

from . import leaking_models as models

BATCH, LENGTH, SOURCE = 3, 13, 17
FILE = Path(models.__file__)


def tokens(name: str, length: int, seed: int) -> Input:
    values = np.random.default_rng(seed).integers(0, models.VOCAB, (BATCH, length))
    return Input(name, values, "tokens", np.arange(models.VOCAB))


def runner(model: nn.Module, counted: list[int] | None = None, gradients: bool = True) -> Any:
    def run(feed: Feed) -> Any:
        if counted is not None:
            counted.append(1)
        torch.manual_seed(5)
        with torch.set_grad_enabled(gradients):
            return model(*(torch.from_numpy(each.values) for each in feed.inputs.values()))

    return run


def causal_pair(keys: list[int]) -> tuple[Feed, Feed, dict[int, np.ndarray]]:
    """Inputs, and others of which row b differs from position keys[b] on."""
    given = tokens("tokens", LENGTH, 1)
    changed = np.arange(LENGTH) >= np.array(keys)[:, None]
    base = Feed({"tokens": given})
    return base, base.having(given.changed(changed, 2)), {LENGTH: ~changed}


def made(make: Any, training: bool = False) -> nn.Module:
    torch.manual_seed(0)
    return make().double().train(training)


def located(make: Any, training: bool = False, **options: Any) -> Located | None:
    model = made(make, training)
    return look(model, runner(model), *causal_pair([9, 6, 11]), **options)


def line_of(mark: str) -> int:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    (found,) = [n for n, line in enumerate(lines, 1) if line.endswith(f"# LEAK {mark}")]
    return found


@pytest.mark.parametrize("case", models.CASES, ids=lambda case: case.name)
def test_module_operation_and_line(case: models.Case) -> None:
    found = located(case.make, case.training)
    assert found is not None
    place = found.place
    assert (place.module, place.operation) == (case.module, case.operation)
    assert (Path(place.file), place.line) == (FILE, line_of(case.mark)), place.text
    assert place.text.endswith(f"# LEAK {case.mark}")


@pytest.mark.parametrize("name", models.RIGHT)
def test_right_models_have_no_place(name: str) -> None:
    assert located(models.RIGHT[name]) is None


def test_two_passes_for_the_module_and_two_parts_of_passes_for_the_operation() -> None:
    model = made(models.CASES[0].make)
    counted: list[int] = []
    run = runner(model, counted)
    place = locate(model, run, *causal_pair([9, 6, 11]))
    assert len(counted) == 4
    counted.clear()
    found = look(model, run, *causal_pair([9, 6, 11]), operations=False)
    assert len(counted) == 2
    assert found is not None
    assert place is not None
    assert (found.place.module, found.place.operation) == (place.module, "")


def test_a_pass_is_stopped_after_the_guilty_call() -> None:
    model = made(models.CASES[0].make)
    heads: list[int] = []
    model.head.register_forward_hook(lambda *_: heads.append(1))
    locate(model, runner(model), *causal_pair([9, 6, 11]))
    assert len(heads) == 2


def test_calls_are_torch_s_own_again_afterwards() -> None:
    before = nn.Module.__call__
    model = made(models.CASES[0].make)

    def fails(feed: Feed) -> Any:
        model(torch.from_numpy(feed.inputs["tokens"].values))
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk"):
        locate(model, fails, *causal_pair([9, 6, 11]))
    assert nn.Module.__call__ is before


class TorchLayer(nn.Module):
    def __init__(self, time_first: bool) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(
            models.WIDTH, models.HEADS, 17, 0.0, batch_first=not time_first
        )
        self.time_first = time_first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.time_first:
            return self.layer(x.transpose(0, 1)).transpose(0, 1)
        return self.layer(x)


@pytest.mark.parametrize("time_first", [True, False])
@pytest.mark.parametrize("gradients", [True, False])
def test_torch_s_layers_with_and_without_their_fast_path(time_first: bool, gradients: bool) -> None:
    model = made(lambda: models.Stack(TorchLayer(time_first)))
    place = locate(model, runner(model, gradients=gradients), *causal_pair([9, 6, 11]))
    assert place is not None
    fast = not time_first and not gradients
    assert place.module == "blocks.1.mixer.layer" + ("" if fast else ".self_attn")
    assert place.operation == models.MHA
    assert place.text.startswith("return self.layer(x")


@pytest.mark.parametrize("fault", ["", "encoder", "memory"])
def test_encoder_and_decoder(fault: str) -> None:
    model = made(lambda: models.Seq2Seq(fault))
    source, target = tokens("source", SOURCE, 3), tokens("target", LENGTH, 4)
    padding = np.arange(SOURCE) >= np.array([17, 12, 9])[:, None]
    base = Feed({"source": source, "target": target, "padding": Input("p", padding, "fixed")})
    changed = base.having(source.changed(padding, 5))
    quiet = {SOURCE: ~padding, LENGTH: np.ones((BATCH, LENGTH), dtype=bool)}
    place = locate(model, runner(model), base, changed, quiet)
    if not fault:
        assert place is None
        return
    assert place is not None
    assert place.module == {"memory": "cross"}.get(fault, fault)
    assert (place.operation, place.line) == (models.MHA, line_of(fault))


class Twice(nn.Module):
    """The same module, called rightly and then wrongly."""

    def __init__(self) -> None:
        super().__init__()
        self.mixer = nn.MultiheadAttention(models.WIDTH, models.HEADS, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        y = self.mixer(x, x, x, attn_mask=future)[0]
        return self.mixer(y, y, y)[0]  # the second call


def test_the_second_call_of_a_module() -> None:
    found = located(lambda: models.Stack(Twice()))
    assert found is not None
    assert found.place.module == "blocks.1.mixer.mixer"
    assert found.place.text.endswith("# the second call")


class Root(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(models.VOCAB, models.WIDTH)
        self.inner = models.Block(models.Attention())

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.inner(self.embed(tokens))
        return x - x.mean(1, keepdim=True)  # at the top


def test_a_leak_in_the_model_s_own_forward() -> None:
    found = located(Root)
    assert found is not None
    assert (found.place.module, found.place.kind) == ("", "Root")
    assert found.place.operation == "Tensor.mean"
    assert found.place.text.endswith("# at the top")


# Dynamo itself looks at gradients of tensors that have none.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_a_compiled_module_is_named_as_a_whole() -> None:
    make = lambda: models.Stack(torch.compile(models.Kernel(False), backend="eager"))  # noqa: E731
    found = located(make)
    assert found is not None
    assert found.place.module.startswith("blocks.1.mixer")
    assert found.place.kind in ("OptimizedModule", "Kernel")


def test_a_scripted_module_is_named_as_a_whole() -> None:
    class Mean(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + x.mean(1, keepdim=True)

    with pytest.warns(DeprecationWarning, match="jit"):
        scripted = torch.jit.trace(Mean(), torch.zeros(2, 3, models.WIDTH))
    found = located(lambda: models.Stack(scripted))
    assert found is not None
    assert found.place.module == "blocks.1.mixer"


def test_a_model_that_is_never_the_same_has_no_place() -> None:
    model = made(lambda: nn.Sequential(nn.Embedding(models.VOCAB, 4), nn.Dropout(0.5)), True)
    base, changed, quiet = causal_pair([9, 6, 11])
    torch.manual_seed(0)
    run = lambda feed: model(torch.from_numpy(feed.inputs["tokens"].values))  # noqa: E731
    assert locate(model, run, base, changed, quiet) is None


def test_dropout_from_the_same_seed_is_no_leak() -> None:
    assert located(models.RIGHT["attention"], training=True) is None


class Tracing(nn.Module):
    """Answers are predicted from earlier ones and the exercise at hand, never from themselves."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.answers, self.exercises = (nn.Embedding(models.VOCAB, models.WIDTH) for _ in range(2))
        self.block = Past(fault)

    def forward(self, answers: torch.Tensor, exercises: torch.Tensor) -> torch.Tensor:
        return self.block(self.exercises(exercises), self.answers(answers))


class Past(nn.Module):
    def __init__(self, fault: str) -> None:
        super().__init__()
        self.values = nn.Linear(models.WIDTH, models.WIDTH)
        self.earlier = models.Own(lambda self, x: nn.functional.pad(x.cumsum(1), (0, 0, 1, -1)))
        self.fault = fault

    def forward(self, exercises: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
        past = self.earlier(self.values(answers))
        if self.fault == "mean":
            past = past + answers.mean(1, keepdim=True)
        return exercises + past + (answers if self.fault == "own" else 0)


@pytest.mark.parametrize("fault", ["", "own", "mean"])
def test_strict_contracts(fault: str) -> None:
    """Every position is changed in one row or another; none may matter at its own place."""
    model = made(lambda: Tracing(fault))
    answers, exercises = tokens("answers", LENGTH, 3), tokens("exercises", LENGTH, 4)
    keys = np.arange(LENGTH) >= np.array([9, 6, 11])[:, None]
    first = np.array([9, 6, 11])[:, None]
    base = Feed({"answers": answers, "exercises": exercises})
    quiet = {LENGTH: np.arange(LENGTH) <= first}
    place = locate(model, runner(model), base, base.having(answers.changed(keys, 5)), quiet)
    if not fault:
        assert place is None
        return
    assert place is not None
    assert place.module == "block"
    assert (place.operation == "Tensor.mean") == (fault == "mean")


def test_rows_without_a_sequence_axis() -> None:
    """Padding that a mean over positions counts, in a model that returns one state for a row."""

    class Sentence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.pool = nn.Embedding(models.VOCAB, models.WIDTH), models.Own(mean)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.pool(self.embed(tokens))

    def mean(self: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return x.mean(1)

    base, changed, quiet = causal_pair([9, 6, 11])
    model = made(Sentence)
    rows = np.ones(BATCH, dtype=bool)
    place = locate(model, runner(model), base, changed, {**quiet, 0: rows})
    assert place is not None
    assert (place.module, place.operation) == ("pool", "Tensor.mean")
    assert locate(model, runner(model), base, changed, quiet) is None


def test_transformers_models_are_named_by_the_line_of_their_own_file() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=models.VOCAB, hidden_size=models.WIDTH, num_hidden_layers=2,
        num_attention_heads=models.HEADS, intermediate_size=19, max_position_embeddings=31,
    )  # fmt: skip
    model = made(lambda: transformers.BertModel(config))
    for implementation, operation in {"eager": "softmax", "sdpa": "scaled_dot_product"}.items():
        model.set_attn_implementation(implementation)
        place = locate(model, runner(model, gradients=False), *causal_pair([9, 6, 11]))
        assert place is not None
        assert place.module == "encoder.layer.0.attention.self"
        assert operation in place.operation
        assert place.file.endswith("modeling_bert.py")


class Turned(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flip(1)


class TurnedBack(nn.Module):
    """A part of it reverses time; the whole does not."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = Turned()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.turn(x).flip(1)


def test_what_a_larger_module_puts_right_is_not_blamed() -> None:
    found = located(lambda: models.Stack(TurnedBack(), models.Attention("discarded")))
    assert found is not None
    assert found.place.module == "blocks.2.mixer"
