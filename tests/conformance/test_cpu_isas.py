"""Every instruction set that this machine can run, against the oracle, and how one is chosen.

The kernels are one source, compiled for each; `make sanitize` adds "wide", which arranges its
vectors as AVX-512 does on machines without it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from oracle_problems import Problem, compare
from poisoning import DTYPES
from sequences import INF, KINDS, NAN, Layout, assert_same, attend, draw

import sightline as sl
from sightline.native import kernels, why_missing

ISAS = kernels().isas() if why_missing() is None else []
pytestmark = pytest.mark.skipif(not ISAS, reason="the compiled kernels are missing")

MASKS = {
    "everything": sl.everything(),
    "causal": sl.causal(),
    "documents": sl.documents(lengths=[[30, 100, 90], [110, 110]]) & sl.causal(),
    "heads": sl.per_head([sl.window(9, 3), sl.causal(), sl.nothing(), sl.dilated(3)]),
    "empty rows": sl.window(20, 4) & ~sl.queries([40, 41, 135]),
}
PROBLEMS = [
    Problem(100, 150, 40, 2, 4, 2, (16, 64)),
    Problem(110, 140, 40, 2, 4, 1, (7, 5), layout="swapped"),
    Problem(8, 180, 120, 2, 4, 2, (32, 48)),
    Problem(3, 180, 130, 2, 4, 2, (9, 20), layout="columns"),
    Problem(97, 66, 10, 2, 4, 2, (40, 8), bias_shape=(2, 1, 97, 66)),
    Problem(2, 130, 60, 2, 4, 4, (8, 16), bias_shape=(4, 1, 1), scale=-0.5),
]


@pytest.fixture(params=ISAS or ["none"])
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = kernels().isa()
    kernels().use_isa(request.param)
    yield request.param
    kernels().use_isa(before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", range(len(PROBLEMS)))
def test_values_and_gradients(number: int, dtype: str, isa: str) -> None:
    given = PROBLEMS[number]
    problem = Problem(**{**vars(given), "dtype": DTYPES[dtype], "bias_dtype": DTYPES[dtype]})
    assert kernels().isa() == isa
    for mask in MASKS.values():
        compare(problem, mask)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sequence_has_the_same_bits_wherever_it_lies(dtype: str, isa: str) -> None:
    for length, dims in ((70, (24, 12)), (3, (64, 32)), (7, (5, 3))):
        sequence = draw(length, DTYPES[dtype], dims=dims)
        for kind in ("causal", "window", "everything"):
            alone = attend(sequence, KINDS[kind], Layout())
            for layout in (Layout(40, 60, NAN), Layout(97, 0, INF, padding=True)):
                assert_same(alone, attend(sequence, KINDS[kind], layout), (isa, layout))


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_as_torch_rounds_them(dtype: str, isa: str) -> None:
    """A row that sees one key returns its value: read and written without a change."""
    kept = DTYPES[dtype]
    if kept.itemsize == 2:
        every = torch.arange(-(2**15), 2**15).to(torch.int16).view(kept)
    else:
        every = torch.randn(2**16, generator=torch.Generator().manual_seed(0)).to(kept)
        every[:4] = torch.tensor([1e-38, 3e38, INF, NAN]).to(kept)
    for width in (64, 61):
        value = every[: 1024 // 64 * width * 64].reshape(1, 1, -1, width)
        rows = value.shape[2]
        query = torch.zeros(1, 1, rows, 8, dtype=kept)
        output = sl.attend(query, query, value, sl.window(0, 0), engine="cpu")
        unsigned = value + torch.zeros_like(value)  # -0 becomes 0
        torch.testing.assert_close(output, unsigned, rtol=0, atol=0, equal_nan=True)
        assert not ((output == 0) & output.signbit()).any()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_results_are_rounded_to_the_nearest(dtype: str, isa: str) -> None:
    """The mean of two neighbours is between them: ties go to the even one, as in torch."""
    kept = DTYPES[dtype]
    low = torch.arange(0, 2**14).to(torch.int16).view(kept)
    low = low[low.isfinite()]
    high = torch.nextafter(low, torch.tensor(INF, dtype=kept))
    pairs = torch.stack([low, high], dim=1)[high.isfinite()]
    count = pairs.shape[0] // 16 * 16
    value = pairs[:count].reshape(-1, 16, 2).transpose(1, 2)[:, None].contiguous()
    query = torch.zeros(value.shape[0], 1, 1, 8, dtype=kept)
    key = torch.zeros(value.shape[0], 1, 2, 8, dtype=kept)
    output = sl.attend(query, key, value, sl.everything(), engine="cpu")
    wanted = (value.float().sum(dim=2, keepdim=True) * 0.5).to(kept)
    normal = wanted.float().abs() > 1e-37  # what is below is less than a normal float32
    assert torch.equal(output[normal], wanted[normal])


# -- the choice ---------------------------------------------------------------------------------


def in_a_process(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


TELL = "from sightline.native import kernels; print(kernels().isa())"


@pytest.mark.parametrize("name", ISAS)
def test_the_environment_chooses(name: str) -> None:
    if name == "wide":
        pytest.skip("only in the module that this process was given")
    assert in_a_process(TELL, SIGHTLINE_ISA=name).stdout.strip() == name


def test_the_best_one_is_the_default() -> None:
    # An empty name is none.
    best = next(name for name in ISAS if name != "wide")
    assert in_a_process(TELL, SIGHTLINE_ISA="").stdout.strip() == best


def test_a_wrong_name_is_refused_with_the_right_ones() -> None:
    done = in_a_process(TELL, SIGHTLINE_ISA="sse9")
    assert done.returncode == 1
    assert "ValueError" in done.stderr
    assert "'sse9'" in done.stderr
    assert "baseline" in done.stderr or "neon" in done.stderr
    before = kernels().isa()
    for name in ("sse9", "", "AVX2", "avx2 "):
        with pytest.raises(ValueError, match="this machine can run"):
            kernels().use_isa(name)
    assert kernels().isa() == before


def test_the_one_for_tests_is_never_the_default() -> None:
    assert ISAS[0] != "wide"
    assert len(set(ISAS)) == len(ISAS)
