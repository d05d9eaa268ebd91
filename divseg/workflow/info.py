"""``divseg info``: what is installed, what is in a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from divseg.packages import versions


def describe_installation() -> dict[str, Any]:
    """Return versions and devices."""
    import torch

    from divseg.denoise.precision import training_dtype
    from divseg.device import choose_device

    device = choose_device("auto")
    return {
        "versions": versions(),
        "device": str(device),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "training precision": str(training_dtype(device)).removeprefix("torch."),
    }


def describe_model(folder: str | Path) -> dict[str, Any]:
    """Return what is in a model folder."""
    from divseg.denoise import DivNoising

    model = DivNoising.load(folder, device="cpu")
    return {
        "network": model.network.config.to_dict(),
        "noise": model.noise.to_dict(),
        "mean": model.mean,
        "std": model.std,
        "training": model.training,
    }
