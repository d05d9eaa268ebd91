"""Noise models in files: our own JSON, and the .npz and .npy files of PN2V, DivNoising and CAREamics."""

from __future__ import annotations

import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divseg.denoise.noise.base import PixelNoise
from divseg.denoise.noise.choose import from_dict
from divseg.denoise.noise.evidence import Evidence
from divseg.denoise.noise.gaussian import Gaussian, PoissonGaussian
from divseg.denoise.noise.histogram import Histogram
from divseg.denoise.noise.mixture import GaussianMixture
from divseg.errors import ConfigError, ModelError
from divseg.io import write_bytes, write_text

FORMAT = 1
EXTRA = "divseg"
"""Key under which an .npz file holds, as JSON, what the other programs do not know: limits and evidence."""

PN2V_MIN_SIGMA = 50.0
"""Floor of the variance that the code of PN2V has built in; its files do not name it."""


def save(model: PixelNoise, path: str | Path) -> Path:
    """Write a noise model to a file; the name's ending says how.

    * ``.json``: any model, with all its digits, its limits and its evidence.
    * ``.npz``: a mixture with the keys of PN2V, DivNoising and CAREamics (`trained_weight`, `min_signal`,
      `max_signal`, `min_sigma`); Gaussian and Poisson-Gaussian models become the mixture of one Gaussian
      that they are; a histogram under the key `histogram`.
    * ``.npy``: a histogram as PN2V writes it, shape (3, bins, bins): probabilities, lower and upper edges.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ConfigError
        If the ending is unknown, or the model has no such form.
    OutputError
        If the file cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower()
    extra = {**model._limits(), **({"evidence": model.evidence.to_dict()} if model.evidence else {})}
    if kind == ".json":
        data = {"format": FORMAT, "noise": model.to_dict(), "description": model.describe()}
        if model.evidence:
            data["evidence"] = model.evidence.to_dict()
        write_text(path, json.dumps(data, indent=1) + "\n")
    elif kind == ".npz":
        arrays: dict[str, Any]
        if isinstance(model, Histogram):
            arrays = {"histogram": _pn2v_histogram(model)}
            extra["outliers"] = model.outliers
        else:
            mixture = as_mixture(model)
            arrays = {
                "trained_weight": mixture.weight.cpu().numpy(),
                "min_signal": np.array([mixture.min_signal], np.float32),
                "max_signal": np.array([mixture.max_signal], np.float32),
                "min_sigma": np.array(mixture.min_sigma, np.float32),
            }
        buffer = io.BytesIO()
        arrays[EXTRA] = np.array(json.dumps(extra))
        np.savez(buffer, **arrays)
        write_bytes(path, buffer.getvalue())
    elif kind == ".npy":
        if not isinstance(model, Histogram):
            raise ConfigError(f"{path}: .npy holds noise histograms; write {model.kind} noise as .json or .npz")
        buffer = io.BytesIO()
        np.save(buffer, _pn2v_histogram(model))
        write_bytes(path, buffer.getvalue())
    else:
        raise ConfigError(f"{path}: a noise model is written as .json, .npz or .npy, not {kind or 'without ending'!r}")
    return path


def load(path: str | Path) -> PixelNoise:
    """Read a noise model written by :func:`save`, PN2V, DivNoising or CAREamics.

    Raises
    ------
    ModelError
        If the file is missing, damaged, or no noise model.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if not path.is_file():
        raise ModelError(f"there is no noise model file {path}")
    try:
        if kind == ".json":
            return _from_json(json.loads(path.read_text(encoding="utf-8")))
        if kind == ".npz":
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                return _from_npz({name: file[name] for name in file.files})
        if kind == ".npy":
            return _from_pn2v(np.load(io.BytesIO(path.read_bytes()), allow_pickle=False))
    except (ConfigError, ModelError) as error:
        raise ModelError(f"{path}: {error}") from error
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{path} is damaged or no noise model ({type(error).__name__}: {reason}); measure it again or restore it"
        ) from error
    raise ModelError(f"{path}: noise models are .json, .npz or .npy files")


def as_mixture(model: PixelNoise) -> GaussianMixture:
    """Return a model as a Gaussian mixture; exact for Gaussian and Poisson-Gaussian noise within their range.

    Raises
    ------
    ConfigError
        If it has no such form: a histogram, or a variance that falls with the signal.
    """
    if isinstance(model, GaussianMixture):
        return model
    least = None
    if isinstance(model, Gaussian):
        low, high, ends = 0.0, 1.0, (model.sd**2, model.sd**2)
    elif isinstance(model, PoissonGaussian):
        first, last = model.log_ends.detach().double().exp().tolist()
        low, high, ends, least = model.low, model.high, (first, last), model.least
    else:
        raise ConfigError(f"{model.kind} noise cannot be written as a mixture; use .json")
    rise = ends[1] - ends[0]
    if rise < -1e-6 * ends[0]:
        raise ConfigError("noise whose variance falls with the signal has no form as a mixture; use .json")
    slope = math.log(rise) if rise > 1e-12 * ends[0] else math.log(ends[0]) - 30.0
    weight = [[0.0, 0.0], [math.log(ends[0]), slope], [0.0, 0.0]]
    return GaussianMixture(weight, min_signal=low, max_signal=high, min_sigma=least or 0.1 * ends[0])


def _from_json(data: Any) -> PixelNoise:
    if not isinstance(data, dict) or "noise" not in data:
        raise ModelError("it holds no noise model")
    if data.get("format") != FORMAT:
        raise ModelError(f"noise model format {data.get('format')!r}, this version reads {FORMAT}; update divseg")
    model = from_dict(data["noise"])
    if not isinstance(model, PixelNoise):
        raise ModelError("it holds no noise model")
    if "evidence" in data:
        model.evidence = Evidence.from_dict(data["evidence"])
    return model


def _from_npz(arrays: dict[str, NDArray[Any]]) -> PixelNoise:
    extra = json.loads(str(arrays.pop(EXTRA))) if EXTRA in arrays else {}
    model: PixelNoise
    name = next((n for n in ("trained_weight", "weight") if n in arrays), None)
    if name:
        model = GaussianMixture(
            arrays[name].astype(np.float32),
            min_signal=_number(arrays["min_signal"]),
            max_signal=_number(arrays["max_signal"]),
            min_sigma=_number(arrays["min_sigma"]) if "min_sigma" in arrays else PN2V_MIN_SIGMA,
        )
    elif "histogram" in arrays or (len(arrays) == 1 and next(iter(arrays.values())).ndim == 3):
        table = arrays["histogram"] if "histogram" in arrays else next(iter(arrays.values()))
        model = _from_pn2v(table, **({"outliers": extra["outliers"]} if "outliers" in extra else {}))
    else:
        keys = ", ".join(sorted(arrays)) or "none"
        raise ModelError(f"no noise model: neither key 'trained_weight' nor 'histogram' (keys: {keys})")
    if "evidence" in extra:
        model.evidence = Evidence.from_dict(extra["evidence"])
    return model.with_limits(extra.get("floor"), extra.get("ceiling"))


def _number(array: NDArray[Any]) -> float:
    values = np.asarray(array, dtype=np.float64).ravel()
    if values.size != 1:
        raise ModelError(f"{values.size} values where one number is needed")
    return float(values[0])


def _pn2v_histogram(model: Histogram) -> NDArray[np.float64]:
    """Return the three planes of PN2V: probabilities, lower and upper edges along the signal."""
    edges = model.low + model.width * np.arange(model.bins + 1)
    out = np.empty((3, model.bins, model.bins))
    out[0] = model.table.cpu().numpy()
    out[1] = edges[:-1, None]
    out[2] = edges[1:, None]
    return out


def _from_pn2v(table: NDArray[Any], **options: float) -> Histogram:
    if table.ndim != 3 or table.shape[0] != 3:
        raise ModelError(f"a noise histogram has shape (3, bins, bins), this array has {table.shape}")
    return Histogram(table[0], low=float(table[1].min()), high=float(table[2].max()), **options)
