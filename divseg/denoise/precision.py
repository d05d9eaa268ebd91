"""Number formats and memory layout of the network, and exact arithmetic."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from divseg.denoise.networks.base import LAYOUT, LatentNet
from divseg.errors import ConfigError

Net = TypeVar("Net", bound=nn.Module)


def channels_last(network: Net, device: torch.device) -> Net:
    """Move a network to a device, in the memory layout that convolutions are fastest in."""
    for parameter in network.parameters():
        if parameter.ndim in (4, 5):
            parameter.data = parameter.data.contiguous(memory_format=LAYOUT[parameter.ndim - 2])
    return network.to(device)


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Return a context in which convolutions work in `dtype`; float32 leaves everything as it is."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


@contextmanager
def inference(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Run the network without gradients: exactly in float32, or with convolutions in `dtype`.

    Exactly means: no TF32 or bfloat16 inside float32 convolutions and products of matrices, and algorithms of
    cuDNN that give the same sums every time. PyTorch's switches for this belong to the whole process; they are set
    back when the last of the threads that needed them leaves, after an error too.
    """
    with torch.inference_mode(), autocast(device, dtype):
        if dtype != torch.float32:
            yield
            return
        _exactly.enter()
        try:
            yield
        finally:
            _exactly.leave()


class _Exactly:
    """PyTorch's switches for exact arithmetic, set while anybody needs them."""

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, list[tuple[Any, str, Any]]()

    def enter(self) -> None:
        with self._lock:
            if self._inside == 0:
                switches = _switches()
                self._before = [(module, name, getattr(module, name)) for module, name, _ in switches]
                for switch in switches:
                    setattr(*switch)
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                for switch in self._before:
                    setattr(*switch)


_exactly = _Exactly()


def _switches() -> list[tuple[Any, str, Any]]:
    """Return module, name and exact value of each switch; PyTorch 2.9 has new ones, that do not go with the old."""
    backends: Any = torch.backends  # attributes that differ between versions
    algorithms = [(backends.cudnn, "deterministic", True), (backends.cudnn, "benchmark", False)]
    if not hasattr(backends.cudnn, "conv"):
        return [*algorithms, (backends.cudnn, "allow_tf32", False), (backends.cuda.matmul, "allow_tf32", False)]
    operations = [backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul, backends.mkldnn.conv]
    return [*algorithms, *((op, "fp32_precision", "ieee") for op in [*operations, backends.mkldnn.matmul])]


def sum_dtype(device: torch.device) -> torch.dtype:
    """Return the number format of long sums: float64, which Apple's GPUs do not have."""
    return torch.float32 if device.type == "mps" else torch.float64


def compiled(network: LatentNet, device: torch.device) -> Callable[[Tensor, Sequence[Tensor]], Any]:
    """Return the network compiled by torch.compile.

    Raises
    ------
    ConfigError
        If this machine lacks what the compiler needs.
    """
    if device.type == "cpu":
        compiler = os.environ.get("CXX", "g++" if sys.platform != "win32" else "cl")
        if shutil.which(compiler) is None:
            raise ConfigError(
                f"compile=True needs a C++ compiler, and there is no {compiler!r} on this machine; install one "
                "(set CXX to its name) or leave compile off"
            )
    elif device.type == "cuda" and find_spec("triton") is None:
        raise ConfigError("compile=True needs the package 'triton' on a GPU; install it or leave compile off")
    elif device.type == "mps":
        raise ConfigError("compile=True is not supported on Apple GPUs; leave it off")
    return torch.compile(network)


def sampling_dtype(precision: str = "exact") -> torch.dtype:
    """Return the number format of the convolutions in sampling: float32 for ``"exact"``, bfloat16 for ``"bf16"``.

    Raises
    ------
    ConfigError
        For any other word.
    """
    if precision not in ("exact", "bf16"):
        raise ConfigError(f"unknown precision {precision!r}: use exact or bf16")
    return torch.bfloat16 if precision == "bf16" else torch.float32


def training_dtype(device: torch.device, precision: str = "auto") -> torch.dtype:
    """Return the number format of the convolutions in training.

    ``"auto"`` is bfloat16 if the hardware multiplies it faster than float32 (recent GPUs, CPUs with
    AVX512-BF16), float32 elsewhere. Likelihood, KL and weights are always float32.
    """
    if precision not in ("auto", "fp32", "bf16"):
        raise ConfigError(f"unknown precision {precision!r}: use auto, fp32 or bf16")
    if precision == "fp32" or device.type == "mps":
        return torch.float32
    if precision == "bf16":
        return torch.bfloat16
    if device.type == "cuda":
        # torch itself says yes to cards that have no bfloat16 and imitate it
        native = torch.version.hip or torch.cuda.get_device_capability(device)[0] >= 8
        return torch.bfloat16 if native and torch.cuda.is_bf16_supported() else torch.float32
    fast = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return torch.bfloat16 if fast else torch.float32
