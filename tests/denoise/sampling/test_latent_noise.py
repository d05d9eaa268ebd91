import ast
import importlib.util
import logging
import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from divseg.denoise.sampling import latent_noise, normals_numba, normals_torch
from divseg.denoise.sampling.latent_noise import LatentNoise, generator_for, image_key
from divseg.denoise.sampling.normals_numba import numba_normals
from divseg.denoise.sampling.normals_torch import torch_normals
from divseg.denoise.sampling.philox import Window, philox
from divseg.errors import InputError
from divseg.io import Image

CPU = torch.device("cpu")


def noise(seed=0, key=1, channels=(8,), generator=None):
    return LatentNoise(seed, key, channels, CPU, generator)


def square(side, dims=2):
    return [((0, side),) * dims]


def correlation(a, b):
    return abs(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1])


@pytest.mark.parametrize("generator", [numba_normals, torch_normals])
def test_standard_normal(generator):
    x = noise(channels=(16,), generator=generator).windows(range(4), square(128))[0].numpy()
    assert x.shape == (4, 16, 128, 128)
    assert x.dtype == np.float32
    n = x.size  # 2**20
    assert stats.kstest(x.ravel(), "norm").pvalue > 1e-3
    for power, (mean, variance) in enumerate([(0, 1), (1, 2), (0, 15), (3, 96)], start=1):
        assert abs((x.astype(float) ** power).mean() - mean) < 4 * (variance / n) ** 0.5
    for bound in (2.0, 3.0, 4.0):
        expected = n * 2 * stats.norm.sf(bound)
        assert abs((np.abs(x) > bound).sum() - expected) < 4 * expected**0.5
    assert 4.5 < np.abs(x).max() < 6.77


def test_independent():
    """Correlations of 65536 numbers, and of their squares, are below 0.02, five standard errors."""
    first = noise(channels=(8, 8)).windows([0, 1], square(96) * 2)
    x = first[0].numpy()[:, :, :64, :64]
    others = [noise(seed=1).windows([0], square(64)), noise(key=2).windows([0], square(64))]
    views = {
        "it": x[0],
        "another sample": x[1],
        "another grid": first[1].numpy()[0, :, :64, :64],
        "the next row": first[0].numpy()[0, :, 1:65, :64],
        "the next column": first[0].numpy()[0, :, :64, 1:65],
        "the transposed": x[0].transpose(0, 2, 1)[:, ::-1],
        "the next channels": np.roll(x[0], 1, 0),
        "channels apart by two": np.roll(x[0], 2, 0),
        "channels apart by four": np.roll(x[0], 4, 0),
        "another seed": others[0][0].numpy()[0],
        "another image": others[1][0].numpy()[0],
    }
    for (a, one), (b, two) in combinations(views.items(), 2):
        assert correlation(one, two) < 0.03, (a, b)
        assert correlation(one**2, two**2) < 0.03, (a, b)


POINT = st.tuples(st.integers(0, 40), st.integers(0, 40))


@settings(max_examples=40)
@given(
    POINT,
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4),
    st.integers(0, 2**64 - 1),
    st.integers(1, 9),
    st.sampled_from([numba_normals, torch_normals]),
)
def test_any_window_batch_and_order_hold_the_same_numbers(start, size, samples, seed, channels, generator):
    field = noise(seed, 5, (channels,), generator)
    whole = {k: field.windows([k], [((0, 70), (0, 70))])[0][0] for k in set(samples)}
    (y, x), (height, width) = start, size
    part = field.windows(samples, [((y, y + height), (x, x + width))])[0]
    assert part.shape == (len(samples), channels, height, width)
    for k, window in zip(samples, part, strict=True):
        assert torch.equal(window, whole[k][:, y : y + height, x : x + width])


@pytest.mark.parametrize("generator", [numba_normals, torch_normals])
def test_windows_in_three_dimensions(generator):
    field = noise(channels=(3, 6), generator=generator)
    whole = field.windows([2, 7], [((0, 9), (0, 20), (0, 18)), ((0, 5), (0, 9), (0, 9))])
    part = field.windows([7], [((4, 9), (3, 19), (16, 18)), ((1, 2), (3, 4), (5, 9))])
    assert torch.equal(part[0], whole[0][1:, :, 4:, 3:19, 16:])
    assert torch.equal(part[1], whole[1][1:, :, 1:2, 3:4, 5:])
    flat = field.windows([2], [((0, 20), (0, 18)), ((0, 9), (0, 9))])
    assert torch.equal(flat[0], whole[0][:1, :, 0])


WINDOWS = [
    Window(0, 8, (5, 7), (40, 60)),
    Window(1, 3, (2**32 - 9, 2**31 - 4), (2**32, 2**31 + 4)),
    Window(7, 5, (2**20 - 3, 4, 4), (2**20, 9, 10)),
    Window(2, 2048, (0, 0), (1, 1)),
    Window(3, 4, (0, 0), (2, 700)),
]


def test_plain_torch_and_numba_agree():
    """Up to the last bits: the square root of PyTorch's CPU library is not always rounded to the nearest number."""
    key, samples = (2**32 - 1, 2**31), [0, 2**32 - 1, 77]
    for a, b, window in zip(
        *(g(key, samples, WINDOWS, CPU) for g in (torch_normals, numba_normals)), WINDOWS, strict=True
    ):
        assert a.shape == (3, *window.sides, window.channels)
        assert float((a - b).abs().max()) < 1e-6


def test_a_number_is_made_from_its_address():
    """Sample 9, position (3, 4), channel 6 of grid 2: word 2 of the counter (4, 3, 2 << 29 | 1 << 20, 9)."""
    window = Window(2, 8, (3, 4), (4, 5))
    drawn = numba_normals((11, 12), [9], [window], CPU)[0][0, 0, 0, 4:]
    counter = tuple(torch.tensor(word) for word in (4, 3, (2 << 29) + (1 << 20), 9))
    words = [int(word) for word in philox(counter, (11, 12))]
    for pair in (0, 1):
        u, v = (words[2 * pair] + 0.5) / 2**32, words[2 * pair + 1] / 2**31 - 1
        r = np.sqrt(-2 * np.log(u))
        expected = [r * np.cos(np.pi * v), r * np.sin(np.pi * v)]
        assert np.allclose(drawn[2 * pair : 2 * pair + 2], expected, atol=3e-6)


def test_chunks_of_samples_change_nothing(monkeypatch):
    whole = torch_normals((1, 2), range(7), WINDOWS[:2], CPU)
    monkeypatch.setattr(normals_torch, "MAX_COUNTERS", 2 * sum(w.counters for w in WINDOWS[:2]))
    parts = torch_normals((1, 2), range(7), WINDOWS[:2], CPU)
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_threads_change_nothing(monkeypatch):
    alone = numba_normals((1, 2), range(7), WINDOWS, CPU)
    monkeypatch.setattr(normals_numba, "THREADED", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    shared = numba_normals((1, 2), range(7), WINDOWS, CPU)
    assert all(torch.equal(a, b) for a, b in zip(alone, shared, strict=True))


def test_limits():
    with pytest.raises(InputError, match="numbers of samples"):
        noise().windows([2**32], square(4))
    with pytest.raises(InputError, match="seed"):
        noise(seed=2**64)


INTERPRETED = """
import torch
from divseg.denoise.sampling.normals_numba import numba_normals
from divseg.denoise.sampling.normals_triton import triton_normals
from divseg.denoise.sampling.philox import Window
windows = %r
key, samples = (2**32 - 1, 2**31), [0, 2**32 - 1, 77]
ways = [g(key, samples, windows, torch.device("cpu")) for g in (triton_normals, numba_normals)]
assert all(torch.equal(a, b) for a, b in zip(*ways, strict=True)), "not the same"
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
def test_triton_and_numba_agree_to_the_bit():
    """Triton's interpreter runs the kernel without a GPU."""
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    code = INTERPRETED % (WINDOWS,)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_triton_knows_every_annotation_of_its_kernels():
    """The interpreter takes what the compiler refuses: a name that stands for nothing in a kernel."""
    source = Path(latent_noise.__file__).with_name("normals_triton.py").read_text()
    kernels = [f for f in ast.walk(ast.parse(source)) if isinstance(f, ast.FunctionDef) and f.decorator_list]
    assert [kernel.name for kernel in kernels] == ["_normals"]
    annotations = {ast.unparse(a.annotation) for kernel in kernels for a in kernel.args.args if a.annotation}
    assert annotations == {"tl.constexpr"}


COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from divseg.denoise.sampling.normals_triton import BLOCK, _normals

names = [p.name for p in _normals.params]
types = dict.fromkeys(names, "i32") | {"out": "*fp32", "numbers": "*i32", "BLOCK": "constexpr"}
source = ASTSource(fn=_normals, signature=types, constexprs={(names.index("BLOCK"),): BLOCK})
for capability in (70, 80, 90):
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"enable_fp_fusion": False})
    assert "fma" not in made.asm["ptx"], "rounds once where other devices round twice"
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")
def test_triton_compiles_the_kernel_for_gpus_that_are_not_here(tmp_path):
    environment = os.environ | {"TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", COMPILED], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_plain_torch_where_triton_does_not_work_is_said_once(caplog):
    """On a machine without CUDA, or without Triton, the trial fails by itself."""
    if torch.cuda.is_available():
        pytest.skip("Triton works here")
    latent_noise._cuda_generator.cache_clear()
    with caplog.at_level(logging.WARNING, "divseg"):
        assert generator_for(torch.device("cuda", 0)) is torch_normals
        assert generator_for(torch.device("cuda", 0)) is torch_normals
    assert [r.message for r in caplog.records if "without Triton on cuda:0" in r.message] != []
    assert len(caplog.records) == 1
    assert generator_for(CPU) is numba_normals
    assert generator_for(torch.device("mps")) is torch_normals


def test_the_key_of_an_image_is_the_beginning_of_its_fingerprint():
    image = Image.from_array(np.arange(12, dtype=np.uint16).reshape(3, 4))
    assert image_key(image.fingerprint) == int(np.frombuffer(bytes.fromhex(image.fingerprint)[:8], "<u8")[0])
    assert image_key(Image.from_array(image.data + 1).fingerprint) != image_key(image.fingerprint)
