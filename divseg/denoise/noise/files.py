"""Reading of noise models from files: our own JSON, and the .npz and .npy files of PN2V, DivNoising and CAREamics.

They are written by :meth:`divseg.denoise.noise.NoiseModel.save`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divseg.denoise.noise.base import EXTRA, FORMAT, NoiseModel
from divseg.denoise.noise.fit_data import FitData
from divseg.denoise.noise.histogram import OUTLIERS, Histogram
from divseg.denoise.noise.mixture import GaussianMixture
from divseg.denoise.noise_file_names import SUFFIXES
from divseg.errors import DAMAGE, DivsegError, FileProblem, ModelError, brief, one_line
from divseg.io.arrays import read_arrays
from divseg.io.json_file import parse_json, read_json

PN2V_MIN_SIGMA = 50.0
"""Smallest variance of a Gaussian that the code of PN2V has built in; its files do not hold it."""


def load(path: str | Path) -> NoiseModel:
    """Read a noise model from a file of divseg, PN2V, DivNoising or CAREamics.

    Parameters
    ----------
    path : path
        .json, .npz or .npy file.

    Raises
    ------
    ModelError
        If the file is missing, damaged, or not a noise model.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ModelError(f"{path}: a noise model file ends in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise ModelError(f"there is no noise model file {path}")
    try:
        if suffix == ".json":
            return _from_json(read_json(path))
        data = read_arrays(path)
        return _from_npz(data) if isinstance(data, dict) else _from_pn2v(data)
    except FileProblem as error:
        raise ModelError(str(error)) from error
    except DivsegError as error:
        raise ModelError(f"{path}: {error}") from error
    except DAMAGE as error:
        raise ModelError(
            f"{path} is damaged or not a noise model ({type(error).__name__}: {one_line(error)}); "
            "measure it again or restore it"
        ) from error


def _from_json(data: Any) -> NoiseModel:
    if not isinstance(data, dict) or "noise" not in data:
        raise ModelError("the file does not hold a noise model")
    if data.get("format") != FORMAT:
        raise ModelError(f"noise model format {brief(data.get('format'))}, this version reads {FORMAT}; update divseg")
    return _with_fit_data(NoiseModel.from_dict(data["noise"]), data)


def _from_npz(arrays: dict[str, NDArray[Any]]) -> NoiseModel:
    extra = parse_json(str(arrays.pop(EXTRA))) if EXTRA in arrays else {}
    model: NoiseModel
    name = next((n for n in ("trained_weight", "weight") if n in arrays), None)
    if name:
        model = GaussianMixture(
            arrays[name].astype(np.float32),
            min_signal=_number(arrays["min_signal"]),
            max_signal=_number(arrays["max_signal"]),
            min_sigma=_number(arrays["min_sigma"]) if "min_sigma" in arrays else PN2V_MIN_SIGMA,
        )
    elif "histogram" in arrays:
        model = _from_pn2v(arrays["histogram"], _number(arrays.get("outliers", np.array(OUTLIERS))))
    elif len(arrays) == 1 and next(iter(arrays.values())).ndim == 3:
        model = _from_pn2v(next(iter(arrays.values())))
    else:
        keys = ", ".join(sorted(arrays)) or "none"
        raise ModelError(f"not a noise model: neither key 'trained_weight' nor 'histogram' (keys: {keys})")
    return _with_fit_data(model, extra).with_limits(extra.get("floor"), extra.get("ceiling"))


def _with_fit_data(model: NoiseModel, data: dict[str, Any]) -> NoiseModel:
    if "fit_data" in data:
        model.fit_data = FitData.from_dict(data["fit_data"])
    return model


def _number(array: NDArray[Any]) -> float:
    values = np.asarray(array, dtype=np.float64).ravel()
    if values.size != 1:
        raise ModelError(f"{values.size} values where one number is needed")
    return float(values[0])


def _from_pn2v(table: NDArray[Any], outliers: float = OUTLIERS) -> Histogram:
    if table.ndim != 3 or table.shape[0] != 3:
        raise ModelError(f"a noise histogram has shape (3, bins, bins), this array has {table.shape}")
    return Histogram(table[0], low=float(table[1].min()), high=float(table[2].max()), outliers=outliers)
