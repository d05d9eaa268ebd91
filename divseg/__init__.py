"""divseg: instance segmentation of noisy microscopy images with known uncertainty.

The public names are loaded on first use, so that ``import divseg`` stays cheap and never imports torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from divseg.packages import public_names, version_of

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

__version__ = version_of("divseg")

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
    "noise": "divseg.denoise.noise",
    "open_run": "divseg.results.open_run",
    "read": "divseg.io",
    "run": "divseg.workflow.run",
    "segmenter": "divseg.segment",
}

__all__ = [*sorted(_PUBLIC), "__version__"]

__getattr__, __dir__ = public_names(__name__, _PUBLIC)
