"""divseg: instance segmentation of noisy microscopy images with known uncertainty.

The public names are loaded on first use, so that ``import divseg`` stays cheap and never imports torch.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from divseg.consensus import Consensus as Consensus
    from divseg.consensus import LabelStack as LabelStack
    from divseg.consensus import assess as assess
    from divseg.consensus import fuse as fuse
    from divseg.denoise import DivNoising as DivNoising
    from divseg.denoise import noise as noise
    from divseg.errors import DivsegError as DivsegError
    from divseg.errors import DivsegWarning as DivsegWarning
    from divseg.io import Image as Image
    from divseg.io import read as read
    from divseg.metrics import Calibration as Calibration
    from divseg.metrics import Scores as Scores
    from divseg.metrics import calibrate as calibrate
    from divseg.metrics import evaluate as evaluate
    from divseg.results.open_run import Run as Run
    from divseg.results.open_run import open_run as open_run
    from divseg.segment import segmenter as segmenter
    from divseg.workflow.engine import Result as Result
    from divseg.workflow.run import run as run

try:
    __version__ = version("divseg")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "uninstalled"

_PUBLIC = {
    "Calibration": "divseg.metrics",
    "Consensus": "divseg.consensus",
    "DivNoising": "divseg.denoise",
    "DivsegError": "divseg.errors",
    "DivsegWarning": "divseg.errors",
    "Image": "divseg.io",
    "LabelStack": "divseg.consensus",
    "Result": "divseg.workflow.engine",
    "Run": "divseg.results.open_run",
    "Scores": "divseg.metrics",
    "assess": "divseg.consensus",
    "calibrate": "divseg.metrics",
    "evaluate": "divseg.metrics",
    "fuse": "divseg.consensus",
    "open_run": "divseg.results.open_run",
    "read": "divseg.io",
    "run": "divseg.workflow.run",
    "segmenter": "divseg.segment",
}
_MODULES = {"noise": "divseg.denoise.noise"}

__all__ = [*sorted([*_PUBLIC, *_MODULES]), "__version__"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(_MODULES[name])
    else:
        raise AttributeError(f"module 'divseg' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
