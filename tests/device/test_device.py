import pytest
import torch

from divseg.device import choose_device, count_gpus, gpu_failed, out_of_memory
from divseg.errors import ConfigError


def test_words_for_devices():
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    assert choose_device(choose_device("cpu")).type == "cpu"
    with pytest.raises(ConfigError, match="unknown device 'tpu9': use auto, cpu, cuda, cuda:N or mps"):
        choose_device("tpu9")


@pytest.mark.skipif(count_gpus() > 0, reason="this machine has a GPU")
def test_a_gpu_that_is_not_there():
    with pytest.raises(ConfigError, match="no usable CUDA GPU"):
        choose_device("cuda")


def test_a_gpu_of_a_number_that_is_not_there(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert choose_device("cuda:1").index == 1
    with pytest.raises(ConfigError, match="device 'cuda:7' was asked for, but this machine has only cuda:0 to cuda:1"):
        choose_device("cuda:7")


def test_memory_that_ran_out_leaves_a_gpu_usable():
    assert gpu_failed(RuntimeError("CUDA error: device-side assert triggered"))
    assert not gpu_failed(torch.OutOfMemoryError("CUDA out of memory"))
    assert not gpu_failed(RuntimeError("CUDA error: out of memory"))
    assert not gpu_failed(ValueError("CUDA error"))


def test_errors_that_say_that_memory_ran_out():
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert out_of_memory(MemoryError())
    assert not out_of_memory(RuntimeError("sizes do not match"))
    assert not out_of_memory(ValueError("out of memory"))
