"""Number formats and memory layout of the network."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
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


def sampling_dtype(precision: str = "fp32") -> torch.dtype:
    """Return the number format of the convolutions in sampling: ``"fp32"`` or ``"bf16"``.

    Raises
    ------
    ConfigError
        For any other word.
    """
    if precision not in ("fp32", "bf16"):
        raise ConfigError(f"unknown precision {precision!r}: use fp32 or bf16")
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
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    fast = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return torch.bfloat16 if fast else torch.float32
