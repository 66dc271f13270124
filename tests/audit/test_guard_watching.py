"""How sl.guard watches: nothing changes, all is put back, and what is not seen is said."""

from __future__ import annotations

import contextlib
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.nn.functional import scaled_dot_product_attention as imported

import sightline as sl
from sightline.audit.guard import guard
from sightline.audit.guards.here import HERE
from sightline.errors import GuardError, InvalidArgument, InvalidMask

B, H, Q, K, D = 3, 2, 5, 7, 8
WRONG = ~torch.ones(Q, Q, dtype=torch.bool).tril()


def x(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def wrong_call(function: Callable[..., Any] | None = None) -> torch.Tensor:
    query = x(B, H, Q, D)
    return (function or F.scaled_dot_product_attention)(query, query, query, attn_mask=WRONG)


def names() -> list[Any]:
    from sightline.engines import attend

    return [
        F.scaled_dot_product_attention,
        F.multi_head_attention_forward,
        torch._native_multi_head_attention,
        torch._transformer_encoder_layer_fwd,
        torch._nested_tensor_from_mask,
        sys.modules["torch.nn.attention.flex_attention"].flex_attention,
        attend.attend,
        sl.attend,
        sl.nn.MultiheadAttention.forward,
        sys.modules["sightline.nn.attention"].attend,
        sys.modules["torch._dynamo.eval_frame"].OptimizedModule.__call__,
        imported,
    ]


@pytest.fixture(autouse=True)
def everything_is_put_back() -> Iterator[None]:
    import torch._dynamo.eval_frame
    import torch.nn.attention.flex_attention  # noqa: F401

    before = names()
    yield
    assert all(a is b for a, b in zip(before, names(), strict=True))
    assert not HERE.sessions
    assert not HERE.inside


def test_names_are_replaced_inside() -> None:
    before = names()
    with guard():
        assert not any(a is b for a, b in zip(before, names(), strict=True))


def test_a_name_that_was_imported_before_is_watched() -> None:
    with guard() as watch:
        wrong_call(imported)
    assert watch.calls == 1


def test_a_name_that_is_imported_inside_is_put_back(tmp_path: Path) -> None:
    (tmp_path / "late_import.py").write_text(
        "from torch.nn.functional import scaled_dot_product_attention as kept\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        with guard() as watch:
            import late_import  # pyright: ignore[reportMissingImports]

            wrong_call(late_import.kept)
        assert late_import.kept is F.scaled_dot_product_attention
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("late_import", None)
    assert watch.calls == 1


def test_what_is_kept_from_inside_works_on() -> None:
    with guard() as watch:
        kept = F.scaled_dot_product_attention
    assert torch.equal(wrong_call(kept), wrong_call())
    assert watch.calls == 0


def test_nested_guards_both_see() -> None:
    with guard() as outer:
        wrong_call()
        with guard() as inner:
            wrong_call()
        wrong_call()
    assert (outer.calls, inner.calls) == (3, 1)
    assert [finding.times for finding in outer.findings] == [3]
    assert [finding.times for finding in inner.findings] == [1]


def test_a_guard_may_be_used_again_but_not_inside_itself() -> None:
    watch = guard()
    with watch:
        wrong_call()
    with watch:
        wrong_call()
        with pytest.raises(InvalidArgument, match="active already"):
            watch.__enter__()
    assert watch.calls == 2


def test_raise_stops_before_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []
    original = F.scaled_dot_product_attention

    def spy(*args: Any, **named: Any) -> Any:
        ran.append(1)
        return original(*args, **named)

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    with pytest.raises(GuardError, match="wrong way round") as caught, guard("raise"):
        wrong_call()
    assert not ran
    assert caught.value.finding.check == "inverted"
    with guard("raise"):
        sdpa = F.scaled_dot_product_attention
        sdpa(x(B, H, Q, D), x(B, H, Q, D), x(B, H, Q, D), is_causal=True)
    assert ran
    monkeypatch.undo()


def test_raise_lets_notes_pass() -> None:
    left = ~WRONG & (torch.arange(Q) > 1)
    with guard("raise") as watch:
        query = x(B, H, Q, D)
        F.scaled_dot_product_attention(query, query, query, attn_mask=left)
    assert [note.check for note in watch.notes] == ["empty-rows"]


def test_errors_of_the_block_pass_through() -> None:
    with guard() as watch, contextlib.suppress(KeyError), guard():
        wrong_call()
        raise KeyError
    assert watch.calls == 1
    with pytest.raises(RuntimeError, match="size of tensor"), guard():
        F.scaled_dot_product_attention(*[x(B, H, Q, D)] * 3, attn_mask=x(4, 4))
    with pytest.raises(TypeError), guard():
        F.scaled_dot_product_attention(1, 2, 3, 4, 5, 6, 7, 8)
    with pytest.raises(TypeError, match="colour"), guard():
        F.scaled_dot_product_attention(*[x(B, H, Q, D)] * 3, colour=1)


def test_an_interrupt_inside_a_watched_function_leaves_nothing_behind() -> None:
    class Stop(nn.Module):
        def forward(self, *_: Any) -> Any:
            raise KeyboardInterrupt

    with guard() as watch:
        with pytest.raises(KeyboardInterrupt):
            sl.attend(*[x(B, H, Q, D)] * 3, _Interrupts())
        wrong_call()
    assert watch.calls == 1


class _Interrupts:
    @property
    def batch(self) -> int:
        raise KeyboardInterrupt

    __class__ = property(lambda self: (_ for _ in ()).throw(KeyboardInterrupt))  # type: ignore[assignment]


def test_other_threads_are_left_alone_and_watch_for_themselves() -> None:
    counts: dict[str, int] = {}
    inside, done = threading.Event(), threading.Event()

    def other() -> None:
        inside.wait(20)
        wrong_call()
        with guard() as own:
            wrong_call()
        counts["own"] = own.calls
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with guard() as watch:
        inside.set()
        assert done.wait(20)
        wrong_call()
    thread.join()
    assert (watch.calls, counts["own"]) == (1, 1)


def test_a_thread_that_ends_first_does_not_stop_the_others() -> None:
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with guard():
            entered.set()
            leave.wait(20)

    thread = threading.Thread(target=other)
    with guard() as watch:
        thread.start()
        assert entered.wait(20)
        leave.set()
        thread.join()
        wrong_call()
    assert watch.calls == 1


def encoder(layers: int = 2, **more: Any) -> nn.Module:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(D, H, 12, batch_first=True, **more)
    return nn.TransformerEncoder(layer, layers)


PAD = torch.arange(Q) >= torch.tensor([5, 3, 2])[:, None]


def run_mha(train: bool, need_weights: bool) -> tuple[Any, ...]:
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(D, H, dropout=0.3, batch_first=True).train(train)
    query = x(B, Q, D)
    return layer(
        query,
        query,
        query,
        key_padding_mask=PAD,
        attn_mask=WRONG,
        need_weights=need_weights,
        average_attn_weights=False,
    )


RUNS: dict[str, Callable[[], Any]] = {
    "sdpa, dropout": lambda: (
        torch.manual_seed(3),
        F.scaled_dot_product_attention(*[x(B, H, Q, D)] * 3, dropout_p=0.5),
    )[1],
    "layer, training": lambda: run_mha(True, False),
    "layer, weights": lambda: run_mha(True, True),
    "layer, inference": lambda: run_mha(False, True),
    "encoder": lambda: encoder().eval()(x(B, Q, D), src_key_padding_mask=PAD),
    "encoder, training": lambda: encoder(dropout=0.2)(x(B, Q, D), src_key_padding_mask=PAD),
    "encoder, mask": lambda: encoder().eval()(x(B, Q, D), mask=WRONG, is_causal=True),
    "attend": lambda: sl.attend(x(B, H, Q, D), x(B, H, K, D), x(B, H, K, D), sl.causal()),
    "our layer": lambda: (
        torch.manual_seed(0),
        sl.nn.MultiheadAttention(D, H, batch_first=True)(x(B, Q, D), key_padding_mask=PAD),
    )[1],
    "a loss that has nothing to do with attention": lambda: F.l1_loss(
        x(B, D), x(B, D) + 1, weight=torch.arange(B * D).view(B, D).float()
    ),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name", RUNS)
def test_results_are_the_same_bits(name: str, grad: bool) -> None:
    def results() -> list[torch.Tensor]:
        torch.manual_seed(1)
        with torch.set_grad_enabled(grad):
            found = RUNS[name]()
        found = found if isinstance(found, tuple) else (found,)
        return [each for each in found if each is not None]

    alone = results()
    with guard() as watch:
        watched = results()
    for one, other in zip(alone, watched, strict=True):
        assert torch.equal(one.nan_to_num(7.0), other.nan_to_num(7.0))
    assert (watch.calls > 0) == ("loss" not in name)


def test_gradients_are_the_same_bits() -> None:
    def gradient() -> torch.Tensor:
        model = encoder()
        model.eval()(x(B, Q, D), src_key_padding_mask=PAD).sum().backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    alone = gradient()
    with guard() as watch:
        assert torch.equal(gradient(), alone)
    assert watch.calls == 2


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
def test_the_fast_paths_are_seen() -> None:
    model = encoder().eval()
    wrong = torch.arange(Q) < torch.tensor([5, 3, 2])[:, None]
    with torch.no_grad(), guard() as watch:
        model(x(B, Q, D), src_key_padding_mask=PAD)
    assert watch.calls == 1  # the padding is cut off once, before all layers
    assert not watch.findings
    with torch.no_grad(), guard() as watch:
        model.layers[0](x(B, Q, D), src_key_padding_mask=wrong)
    assert [f.check for f in watch.findings] == ["inverted"]
    assert "fast path" in watch.findings[0].call
    with torch.no_grad(), guard() as watch:
        model(x(B, Q, D), src_key_padding_mask=wrong)
    assert "inverted" in [f.check for f in watch.findings]


def test_a_mask_that_changes_in_place_is_read_again() -> None:
    mask = ~WRONG.clone()
    query = x(B, H, Q, D)
    with guard() as watch:
        for _ in range(2):
            F.scaled_dot_product_attention(query, query, query, attn_mask=mask)
            mask.logical_not_()
    assert [(f.check, f.times) for f in watch.findings] == [("inverted", 1)]


def test_memory_of_a_mask_that_is_gone_is_not_mistaken() -> None:
    query = x(B, H, Q, D)
    with guard() as watch:
        for wrong in (False, True) * 20:
            mask = WRONG.clone() if wrong else ~WRONG
            F.scaled_dot_product_attention(query, query, query, attn_mask=mask)
            del mask
    assert [(f.check, f.times) for f in watch.findings] == [("inverted", 20)]


def test_inference_tensors_are_read_each_time() -> None:
    with torch.inference_mode(), guard() as watch:
        query, mask = x(B, H, Q, D), WRONG.clone()
        F.scaled_dot_product_attention(query, query, query, attn_mask=mask)
        mask.logical_not_()
        F.scaled_dot_product_attention(query, query, query, attn_mask=mask)
    assert [(f.check, f.times) for f in watch.findings] == [("inverted", 1)]


@pytest.mark.filterwarnings("ignore:There is a performance drop because")
def test_what_holds_no_values_is_counted() -> None:
    query, mask = (torch.empty(s, device="meta") for s in ((B, H, Q, D), (Q, Q)))
    with guard() as watch:
        F.scaled_dot_product_attention(query, query, query, attn_mask=mask)
        sdpa = partial(F.scaled_dot_product_attention, *[x(B, H, Q, D)] * 3)
        torch.vmap(lambda mask: sdpa(attn_mask=mask))(WRONG.expand(2, Q, Q))
    assert watch.calls == 0
    assert watch.unseen == (
        "2 x scaled_dot_product_attention: its tensors hold no values that could be looked at now",
    )
    assert "not looked at" in str(watch)


def test_fake_tensors_keep_their_sizes_open() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx

    def attends(query: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(query, query, query, attn_mask=mask)

    query, causal = x(B, H, Q, D), ~WRONG
    with guard() as watch:
        traced = make_fx(attends, tracing_mode="symbolic")(query, causal)
        with FakeTensorMode() as fake:
            attends(fake.from_tensor(query), fake.from_tensor(causal))
    assert watch.calls == 0
    assert watch.unseen
    longer = x(B, H, Q + 4, D), torch.ones(Q + 4, Q + 4, dtype=torch.bool)
    assert torch.allclose(traced(*longer), attends(*longer), atol=1e-6)


def test_export_and_tracing_work_inside() -> None:
    class Attends(nn.Module):
        def forward(self, query: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return F.scaled_dot_product_attention(query, query, query, attn_mask=mask)

    query = x(B, H, Q, D)
    with guard(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(Attends(), (query, WRONG))
        traced = torch.jit.trace(Attends(), (query, WRONG))
    targets = [str(node.target) for node in exported.graph.nodes]
    assert "aten.scaled_dot_product_attention.default" in targets
    assert torch.equal(traced(query, ~WRONG), Attends()(query, ~WRONG))


def test_compiled_graphs_run_and_are_said_not_to_be_seen() -> None:
    class Attends(nn.Module):
        def forward(self, query: torch.Tensor) -> torch.Tensor:
            return F.scaled_dot_product_attention(query, query, query, attn_mask=WRONG)

    query = x(B, H, Q, D)
    torch._dynamo.reset()
    with guard() as watch:
        compiled = torch.compile(Attends(), backend="eager", fullgraph=True)
        inside = compiled(query)
        compiled(query)
    assert watch.calls == 0
    assert watch.unseen == (
        "2 x a module of torch.compile: the attention inside a compiled graph is not seen",
    )
    assert torch.equal(compiled(query), inside)
    fresh = torch.compile(Attends(), backend="eager", fullgraph=True)
    assert torch.equal(fresh(query), inside)
    with guard() as watch:
        assert torch.equal(compiled(query), inside)
    torch._dynamo.reset()


def test_flex_attention_by_its_block_mask() -> None:
    from torch.nn.attention import flex_attention as flex

    length = 200
    query = x(1, H, length, D)
    mask = flex.create_block_mask(
        lambda b, h, q, k: k > q, None, None, length, length, device="cpu"
    )
    causal = flex.create_block_mask(
        lambda b, h, q, k: k <= q, None, None, length, length, device="cpu"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with guard() as watch, torch.no_grad():
            flex.flex_attention(query, query, query, block_mask=causal)
            assert not watch.findings
            flex.flex_attention(query, query, query, block_mask=mask)
            flex.flex_attention(query, query, query, score_mod=lambda s, b, h, q, k: s + 1)
    assert [f.check for f in watch.findings] == ["inverted"]
    assert watch.calls == 2
    assert watch.unseen == ("1 x flex_attention: what its score_mod hides is not known",)


def test_block_masks_are_written_out_block_by_block() -> None:
    from torch.nn.attention.flex_attention import BlockMask, create_block_mask

    from sightline.audit.guards.flex import written_out

    lengths = 150, 300
    tree = create_block_mask(lambda b, h, q, k: k <= q + 130, 1, 1, *lengths, device="cpu")
    wanted = sl.causal().shift(key=130).dense(*lengths) | (torch.arange(300) < 131).numpy()
    found = written_out(tree, *lengths)
    assert found is not None
    assert (found.numpy() == wanted).all()
    # Blocks that are not listed are hidden, whatever mask_mod says.
    some = BlockMask.from_kv_blocks(
        torch.tensor([[[1, 0]]]),
        torch.tensor([[[[1, 0], [0, 0]]]]),
        BLOCK_SIZE=4,
        seq_lengths=(6, 7),
    )
    shown = written_out(some, 6, 7)
    assert shown is not None
    assert shown[0, 0].int().tolist() == [[0, 0, 0, 0, 1, 1, 1]] * 4 + [[0] * 7] * 2


def test_bad_arguments() -> None:
    with pytest.raises(InvalidArgument, match="'report' or 'raise'"):
        guard("warn")
    with pytest.raises(InvalidMask, match="an array does not say"):
        guard(declared=WRONG)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidMask, match="mask None"):
        guard(declared={"layer": None})  # pyright: ignore[reportArgumentType]


def test_texts() -> None:
    with guard() as watch:
        pass
    assert str(watch) == "no call of attention was seen, nothing found."
