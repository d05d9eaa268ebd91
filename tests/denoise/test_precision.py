import threading

import numpy as np
import pytest
import torch

from divseg.denoise.divnoising import DivNoising
from divseg.denoise.model_folder import ModelParts
from divseg.denoise.networks.flat import FlatConfig
from divseg.denoise.networks.hierarchical import HierarchicalConfig
from divseg.denoise.networks.registry import build_network
from divseg.denoise.noise import Gaussian
from divseg.denoise.normalization import Normalization
from divseg.denoise.precision import inference, sampling_dtype, sum_dtype, training_dtype
from divseg.errors import ConfigError

CPU = torch.device("cpu")
NEW = hasattr(torch.backends.cudnn, "conv")


def tf32():
    """What PyTorch may do in float32 convolutions and products of matrices: ieee, or faster and less exact."""
    b = torch.backends
    if NEW:
        operations = (b.cudnn.conv, b.cudnn.rnn, b.cuda.matmul, b.mkldnn.conv, b.mkldnn.matmul)
        return tuple(op.fp32_precision for op in operations)
    return b.cudnn.allow_tf32, b.cuda.matmul.allow_tf32


EXACT = ("ieee",) * 5 if NEW else (False, False)


def state():
    return tf32(), torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark


@pytest.fixture
def inexact():
    """PyTorch's least exact settings."""
    benchmark, precision = torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.benchmark = True
    yield state()
    torch.backends.cudnn.benchmark = benchmark
    torch.set_float32_matmul_precision(precision)


def test_exact_inside_and_as_before_outside(inexact):
    assert inexact[0] != EXACT
    with inference(CPU, torch.float32):
        assert state() == (EXACT, True, False)
        assert torch.is_inference_mode_enabled()
        with inference(CPU, torch.float32):
            pass
        assert state() == (EXACT, True, False)
    assert state() == inexact
    assert not torch.is_inference_mode_enabled()


def test_as_before_after_an_error(inexact):
    with pytest.raises(KeyError), inference(CPU, torch.float32):
        raise KeyError
    assert state() == inexact


@pytest.mark.skipif(not NEW, reason="switches of PyTorch 2.9")
@pytest.mark.parametrize("word", ["tf32", "ieee"])
def test_settings_made_with_the_new_switches(word):
    before = torch.backends.cudnn.conv.fp32_precision
    torch.backends.cudnn.conv.fp32_precision = word
    try:
        with inference(CPU, torch.float32):
            assert tf32() == EXACT
        assert torch.backends.cudnn.conv.fp32_precision == word
    finally:
        torch.backends.cudnn.conv.fp32_precision = before


def test_threads_that_overlap(inexact):
    """The first to leave does not take exactness from the second."""
    entered, left = threading.Event(), threading.Event()
    seen = []

    def other():
        with inference(CPU, torch.float32):
            entered.set()
            left.wait(10)
            seen.append(state())

    thread = threading.Thread(target=other)
    with inference(CPU, torch.float32):
        thread.start()
        entered.wait(10)
    left.set()
    thread.join()
    assert seen == [(EXACT, True, False)]
    assert state() == inexact


def test_bf16_leaves_the_switches(inexact):
    with inference(CPU, torch.bfloat16):
        assert state() == inexact
        assert torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("config", [FlatConfig(filters=4, latents=4), HierarchicalConfig(latents=(4, 4))])
def test_every_convolution_of_sampling_is_exact(config, inexact):
    """Encoding, samples, estimates and the comparison with the training images; not what the user does in between."""
    torch.manual_seed(0)
    network = build_network(config)
    seen = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            module.register_forward_pre_hook(lambda *_: seen.append(state()))
    training = {"loss_range": [-100.0, 0.0, 100.0]}
    model = DivNoising(ModelParts(network, Gaussian(1.0), Normalization((0.0,), (1.0,)), training, []), device=CPU)
    image = np.random.default_rng(0).standard_normal((40, 40)).astype(np.float32)
    posterior = model.posterior(image)
    for use in (
        lambda: [state() for _ in model.sample(posterior, n=2, batch_size=1)],
        lambda: model.mmse(image, n=2, tta=True),
        lambda: model.draw(image, [3]),
        lambda: model.estimate(image, n=3, mode=True),
        lambda: model.out_of_distribution(image),
    ):
        seen.clear()
        between = use()
        assert set(seen) == {(EXACT, True, False)}
        if isinstance(between, list):
            assert between == [inexact] * 2
    assert state() == inexact


def test_words():
    assert (sampling_dtype("exact"), sampling_dtype("bf16")) == (torch.float32, torch.bfloat16)
    with pytest.raises(ConfigError, match="unknown precision 'fp32': use exact or bf16"):
        sampling_dtype("fp32")
    assert (sum_dtype(CPU), sum_dtype(torch.device("mps"))) == (torch.float64, torch.float32)


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), torch.float32), ((8, 0), torch.bfloat16)])
def test_cards_that_imitate_bfloat16_train_in_float32(monkeypatch, capability, expected):
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    assert training_dtype(torch.device("cuda")) is expected
    assert training_dtype(torch.device("cuda"), "fp32") is torch.float32
