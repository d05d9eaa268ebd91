import pytest

from divseg.device import choose_device, count_gpus
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
