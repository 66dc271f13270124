"""What a model gains: unpadded batches, decoding with a cache, the attention layer, beside peers.

Run: python benchmarks/layer.py [--only unpad decode mha] [--out benchmarks/results]. Ours and the
peer's run by turns in one process; figures are medians, ratios are medians of the ratios round by
round. Outputs are compared before anything is timed. Some ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import machine
from rich.console import Console
from rich.table import Table

import sightline as sl
from sightline.recipes.bench.timing import once, ratio

# What runs on the machine's own blas; nothing is downloaded.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
SEED = 0


def by_turns(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each run, round by round. All have run before, when compared."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds):
        for name in list(runs) if turn % 2 else list(reversed(runs)):
            times[name].append(once(runs[name]))
    return times


def figures(times: dict[str, list[float]], peer: str) -> dict[str, Any]:
    """Return medians, and how many times as long as each of ours the peer took."""
    return {
        "seconds": {name: float(np.median(taken)) for name, taken in times.items()},
        "times_as_fast": {
            name: ratio(times[peer], taken) for name, taken in times.items() if name != peer
        },
        "rounds": len(times[peer]),
    }


# -- a padded batch through BERT --------------------------------------------------------------


def log_normal_lengths(count: int, median: int, most: int) -> list[int]:
    """Return lengths as texts have them; the longest fills the batch."""
    drawn = np.random.default_rng(SEED).lognormal(np.log(median), 0.6, count)
    lengths = np.clip(drawn.round().astype(int), 4, most)
    lengths[0] = most
    return lengths.tolist()


def unpad(rounds: int) -> dict[str, Any]:
    """Time BERT-base with and without its padding."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(SEED)
    lengths = log_normal_lengths(32, 64, 256)
    padded = BertModel(BertConfig(attn_implementation="sdpa")).eval()
    ours = BertModel(BertConfig()).eval()
    ours.load_state_dict(padded.state_dict())
    ours = sl.hf.unpad(ours)
    batch = sl.Batch.from_lengths(lengths)
    ids = batch.scatter(torch.randint(1000, 30522, (batch.real,)))
    inputs = {"input_ids": ids, "attention_mask": batch.valid.long()}

    def run(model: Any) -> torch.Tensor:
        with torch.no_grad():
            return model(**inputs).last_hidden_state

    difference = (batch.gather(run(ours)) - batch.gather(run(padded))).abs().max()
    times = by_turns({"ours": lambda: run(ours), "padded": lambda: run(padded)}, rounds)
    found = figures(times, "padded")
    saved = batch.rows * batch.length / batch.real
    return {
        "what": "BERT-base forward, batch 32, lengths log-normal (median 64, longest 256)",
        **found,
        "padded_over_real_tokens": saved,
        "share_of_what_there_is_to_gain": found["times_as_fast"]["ours"] / saved,
        "largest_difference": float(difference),
    }


# -- decoding ---------------------------------------------------------------------------------

PROMPTS = (16, 32, 48, 64, 80, 96, 112, 128)


def decode(rounds: int, new_tokens: int = 256) -> dict[str, Any]:
    """Time generating with a GPT-2-small: transformers' own, the same patched, and our model."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from sightline.models.gpt import GPT

    torch.manual_seed(SEED)
    theirs = GPT2LMHeadModel(GPT2Config(pad_token_id=0, attn_implementation="sdpa")).eval()
    patched = GPT2LMHeadModel(GPT2Config(pad_token_id=0)).eval()
    patched.load_state_dict(theirs.state_dict())
    patched = sl.hf.patch(patched)
    own = GPT.from_transformers(theirs).eval()
    prompts = [torch.randint(1, 50257, (length,)) for length in PROMPTS]
    left = sl.Batch.from_sequences(prompts, side="left")
    inputs = {"input_ids": left.tokens, "attention_mask": left.valid.long()}
    asked = {"max_new_tokens": new_tokens, "min_new_tokens": new_tokens, "do_sample": False}

    def generate(model: Any, **more: Any) -> torch.Tensor:
        with torch.no_grad():
            return model.generate(**inputs, **asked, **more)[:, left.length :]

    def with_cache() -> torch.Tensor:
        room = left.length + new_tokens
        return generate(patched, past_key_values=sl.hf.static_cache(patched, len(prompts), room))

    def with_ours(on_token: Any = None) -> torch.Tensor:
        done = sl.nn.generate(own, prompts, max_new_tokens=new_tokens, on_token=on_token)
        return torch.stack(done.tokens)

    def patched_and_packed() -> torch.Tensor:
        with sl.nn.PackedLinears(patched, rows=len(prompts)):
            return with_cache()

    def packed() -> torch.Tensor:
        with sl.nn.PackedLinears(own, rows=len(prompts)):
            return with_ours()

    runs = {
        "transformers' generate, sdpa": lambda: generate(theirs),
        "patched, sl.hf.static_cache": with_cache,
        "patched, static_cache, in sl.nn.PackedLinears": patched_and_packed,
        "sl.nn.generate": with_ours,
        "sl.nn.generate in sl.nn.PackedLinears": packed,
    }
    tokens = {name: run() for name, run in runs.items()}
    first = tokens["transformers' generate, sdpa"]
    times = by_turns(runs, rounds)
    return {
        "what": f"GPT-2-small, 8 prompts of {PROMPTS[0]} to {PROMPTS[-1]} tokens, "
        f"{new_tokens} new tokens each",
        **figures(times, "transformers' generate, sdpa"),
        "same_tokens": {name: float((got == first).float().mean()) for name, got in tokens.items()},
        "weights_alone_ms_a_step": 1e3 * weights_alone(theirs, len(prompts)),
        "bytes_allocated_a_step": allocations(with_ours),
    }


def weights_alone(model: Any, rows: int) -> float:
    """Return the seconds a step spends on multiplying by the weights, the same for everybody."""
    weights = [
        module.weight for _, module in model.named_modules() if type(module).__name__ == "Conv1D"
    ]
    head = model.lm_head.weight

    def step() -> None:
        with torch.no_grad():
            for weight in weights:
                torch.mm(torch.ones(rows, weight.shape[0]), weight)
            torch.mm(torch.ones(rows, head.shape[1]), head.T)

    step()
    return float(np.median([once(step) for _ in range(7)]))


def allocations(run: Callable[[Callable[[int, list[int]], None]], object]) -> dict[str, int]:
    """Return the bytes that torch allocates in an early and in a late step of a generation."""
    from torch.profiler import ProfilerActivity, profile

    found: dict[str, int] = {}
    watched = {8: "early", 200: "late"}
    steps: list[Any] = []

    def on_token(row: int, _: list[int]) -> None:
        if row:
            return
        if steps and steps[-1] is not None:
            watch = steps[-1]
            watch.__exit__(None, None, None)
            found[watched[len(steps) - 1]] = sum(
                max(0, event.self_cpu_memory_usage) for event in watch.events()
            )
        steps.append(None)
        if len(steps) - 1 in watched:
            steps[-1] = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
            steps[-1].__enter__()

    run(on_token)
    return found


# -- the layer --------------------------------------------------------------------------------


def mha(rounds: int) -> list[dict[str, Any]]:
    """Time forward and backward of the attention layer at half padding."""
    batch, length, width, heads = 32, 256, 768, 12
    torch.manual_seed(SEED)
    theirs = torch.nn.MultiheadAttention(width, heads, batch_first=True)
    ours = sl.nn.MultiheadAttention(width, heads, batch_first=True)
    ours.load_state_dict(theirs.state_dict())
    lengths = np.linspace(1, length, batch).round().astype(int).tolist()
    real = sl.Batch.from_lengths(lengths)
    x = torch.randn(batch, length, width, requires_grad=True)
    upstream = torch.randn(batch, length, width) * real.valid[:, :, None]
    ignored = ~real.valid

    def run(call: Callable[[], Any]) -> torch.Tensor:
        x.grad = None
        output = call()[0]
        output.backward(upstream)
        return output.detach()

    def peer() -> Any:
        return theirs(x, x, x, key_padding_mask=ignored, need_weights=False)

    found = []
    for what, mask in {
        "padded keys are masked": real.mask,
        "padded keys and queries are masked": real.mask & real.mask.T,
    }.items():

        def layer(mask: sl.Mask = mask) -> Any:
            return ours(x, x, x, mask=mask, need_weights=False)

        difference = (real.gather(run(layer)) - real.gather(run(peer))).abs().max()
        runs = {"ours": lambda layer=layer: run(layer), "torch": lambda: run(peer)}
        found.append(
            {
                "what": f"MultiheadAttention, forward and backward, [{batch}, {length}, {width}], "
                f"{heads} heads, {100 * real.padding_share:.0f} % padding; {what}",
                **figures(by_turns(runs, rounds), "torch"),
                "largest_difference": float(difference),
            }
        )
    return found


# -- printing ---------------------------------------------------------------------------------


def print_figures(console: Console, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        table = Table(title=row["what"], title_justify="left")
        for heading in ("", "seconds", "times as fast"):
            table.add_column(heading, justify="right" if heading else "left")
        for name, seconds in row["seconds"].items():
            times = row["times_as_fast"].get(name)
            table.add_row(name, f"{seconds:.3f}", "" if times is None else f"{times:.2f}")
        console.print(table)
        for name, value in row.items():
            if name not in ("what", "seconds", "times_as_fast"):
                console.print(f"  {name.replace('_', ' ')}: {value}", highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parts = ("mha", "unpad", "decode")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write layer.json into this folder")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    warnings.filterwarnings("ignore", message=".*generation flags.*")
    rows: list[dict[str, Any]] = []
    for part in options.only:
        made: Any = {"mha": mha, "unpad": unpad, "decode": decode}[part](options.rounds)
        rows += made if isinstance(made, list) else [made]
        print_figures(console, rows[-len(made) if isinstance(made, list) else -1 :])
    results = {
        "command": "python benchmarks/layer.py --out benchmarks/results",
        "machine": {**machine(), "torch": torch.__version__, "threads": torch.get_num_threads()},
        "rows": rows,
    }
    console.print(f"medians of {options.rounds}; {results['machine']}", highlight=False)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "layer.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
