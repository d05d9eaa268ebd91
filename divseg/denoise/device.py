"""Where to compute, and in what precision."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from divseg.errors import ConfigError

Net = TypeVar("Net", bound=nn.Module)


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """Return the device that a user's word stands for.

    Parameters
    ----------
    device : str or torch.device
        ``"auto"`` takes a CUDA GPU where there is one, then Apple's, then the CPU.

    Raises
    ------
    ConfigError
        If the named device does not exist on this machine.
    """
    if isinstance(device, str) and device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ConfigError(f"unknown device {device!r}: use auto, cpu, cuda, cuda:N or mps") from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {str(chosen)!r} was asked for, but this machine has no usable CUDA GPU")
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device 'mps' was asked for, but this machine has no usable Apple GPU")
    return chosen


def channels_last(network: Net, device: torch.device) -> Net:
    """Move a network to a device, in the memory layout that convolutions are fastest in."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network.to(device)


def training_dtype(device: torch.device, precision: str = "auto") -> torch.dtype:
    """Return the number format of the network's trunk in training.

    ``"auto"`` is bfloat16 where the hardware multiplies it faster than float32 (recent GPUs, CPUs with
    AVX512-BF16), float32 elsewhere. Likelihood, KL and weights are float32 always.
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
