"""Measures what engines take on this machine, and prints the rows of the cost model.

    python benchmarks/calibrate.py               the engines whose rates are known here
    python benchmarks/calibrate.py sdpa varlen   some of them

Rates are fitted to forward passes over masks and lengths, by least squares of relative errors;
how far the model is off is printed with them. Rows go into src/sightline/engines/cost_model.py.
"""

from __future__ import annotations

import argparse
import itertools
import sys

import numpy as np
import torch
from measure import machine, once
from rich.console import Console

import sightline as sl
from sightline.engines.cost_model import RATES, Rates, work
from sightline.engines.request import check_request

LENGTHS = (128, 512, 1024, 2048, 4096)
HEADS, DIMS = 8, (64, 128)
DTYPES = {"full": torch.float32, "half": torch.bfloat16}
ROUNDS = 7


def masks(length: int) -> list[sl.Mask]:
    documents = sl.documents(lengths=[length // 4] * 4)
    return [sl.causal(), sl.everything(), sl.causal() & documents, sl.window(length // 16, 0)]


def samples(engine: str, precision: str, device: str, block: tuple[int, int] | None) -> np.ndarray:
    """Return rows (1, pairs * dims, bytes moved, seconds)."""
    found: list[tuple[float, float, float, float]] = []
    for length, dim in itertools.product(LENGTHS, DIMS):
        x = torch.randn(3, 1, HEADS, length, dim, device=device).to(DTYPES[precision])
        for mask in masks(length):
            request = check_request(*x, mask)
            done = work(request, block)

            def run(x: torch.Tensor = x, mask: sl.Mask = mask) -> None:
                sl.attend(*x, mask, engine=engine)
                if x.is_cuda:
                    torch.cuda.synchronize()

            with torch.no_grad():
                run()
                # Only load makes one slower, so the quickest counts.
                seconds = min(once(run) for _ in range(ROUNDS))
            found.append((1.0, done.pairs * 2 * dim, done.moved, seconds))
    return np.array(found)


def fitted(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (call, pair, byte), none negative, and predicted ÷ measured times.

    Twice too long and half as long count alike: the weights follow the prediction.
    """
    facts, seconds = rows[:, :3], rows[:, 3]
    predicted = seconds
    for _ in range(20):
        rates = _least_squares(facts, seconds, 1 / np.sqrt(predicted * seconds))
        predicted = np.maximum(facts @ rates, seconds / 100)
    return rates, predicted / seconds


def _least_squares(facts: np.ndarray, seconds: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return rates that are not negative: the most negative is left out until none is."""
    used = list(range(facts.shape[1]))
    scaled, wanted = facts * weight[:, None], seconds * weight
    while True:
        rates = np.zeros(facts.shape[1])
        size = scaled[:, used].max(axis=0)
        rates[used] = np.linalg.lstsq(scaled[:, used] / size, wanted, rcond=None)[0] / size
        if (rates >= 0).all():
            return rates
        used.remove(int(np.argmin(rates)))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("engines", nargs="*", help="which; all that have rates here if none")
    wanted = parser.parse_args().engines
    device = "cuda" if torch.cuda.is_available() else "cpu"
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    named = torch.cuda.get_device_name() if device == "cuda" else machine()["cpu"]
    console.print(f"# {named}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for (engine, on, precision), known in RATES.items():
        if on != device or (wanted and engine not in wanted):
            continue
        rates, ratios = fitted(samples(engine, precision, device, known.block))
        row = Rates(*(float(f"{rate:.2g}") for rate in rates), known.block)
        console.print(f'("{engine}", "{on}", "{precision}"): {row},', soft_wrap=True)
        low, middle, high = np.quantile(ratios, [0.1, 0.5, 0.9])
        console.print(f"    # predicted ÷ measured: {low:.2f} {middle:.2f} {high:.2f} (quantiles)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
