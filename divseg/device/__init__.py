"""The device that a user's word stands for; torch is imported only when it is asked."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from divseg.errors import ConfigError

if TYPE_CHECKING:
    import torch


_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Where Linux shows the drivers of NVIDIA, of AMD, and of Windows below it."""


def count_gpus() -> int:
    """Return the number of CUDA GPUs of this machine; torch is not imported where Linux has no driver of any."""
    if sys.platform == "linux" and not any(os.path.exists(driver) for driver in _DRIVERS):
        return 0
    import torch

    return torch.cuda.device_count()


def gpu_failed(error: BaseException) -> bool:
    """Tell whether an error has left a GPU unusable for this process; memory that ran out has not."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(error, RuntimeError) or out_of_memory(error):
        return False
    kinds = getattr(torch, "AcceleratorError", ())  # of torch 2.7 and later
    return isinstance(error, kinds) or str(error).startswith("CUDA error")


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out, on a GPU or on the host."""
    words = str(error)
    said = "can't allocate memory" in words or "out of memory" in words
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and said)


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """Return the torch device that a word such as ``auto`` or ``cuda:1`` stands for.

    Parameters
    ----------
    device : str or torch.device
        ``"auto"`` takes a CUDA GPU where there is one, then Apple's, then the CPU.

    Raises
    ------
    ConfigError
        If the named device does not exist on this machine.
    """
    import torch

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
    if chosen.type == "cuda" and (chosen.index or 0) >= (count := torch.cuda.device_count()):
        usable = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise ConfigError(f"device {str(chosen)!r} was asked for, but this machine has only {usable}")
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device 'mps' was asked for, but this machine has no usable Apple GPU")
    return chosen
