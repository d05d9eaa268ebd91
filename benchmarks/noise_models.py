"""Are measured, bootstrapped and estimated noise models right? On simulated and on real frames.

    DIVSEG_DATA=... python -m benchmarks.noise_models [--model FOLDER] [--learned FOLDER] [--images 12]

Simulated frames have a known camera. The Convallaria calibration frame has a published figure. The BBBC039 images get
simulated camera noise of known parameters; the noise model is then bootstrapped from clean images, from blurred ones
and, with --model (a model folder trained on such images), from our own MMSE. --learned names more model folders whose
co-learned noise is shown (--model is always shown).
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from scipy import ndimage as ndi

from benchmarks.record import data_root, write_result
from divseg import DivNoising, DivsegWarning, noise

GAIN, OFFSET, READ = 2.0, 100.0, 4.0
PHOTONS, BACKGROUND = 0.2, 0.5
SLOPE, INTERCEPT = GAIN, READ**2 - GAIN * OFFSET
README_A, README_B = 53.4, 517.0


def row(*cells: Any) -> str:
    return "| " + " | ".join(f"{c:.4g}" if isinstance(c, float) else str(c) for c in cells) + " |"


def head(*cells: str) -> list[str]:
    return [row(*cells), "|" + " --- |" * len(cells)]


def percent(value: float, truth: float) -> str:
    return f"{100 * (value / truth - 1):+.1f} %"


def timed(call: Any, *args: Any, **options: Any) -> tuple[Any, float]:
    began = time.perf_counter()
    return call(*args, **options), time.perf_counter() - began


def spot(side: int) -> np.ndarray:
    """Return a smooth spot of light, 20 to 900 above the offset."""
    y, x = np.mgrid[:side, :side].astype(float) - side / 2
    return OFFSET + 20 + 880 / (1 + np.exp(8 * (np.hypot(y, x) / (0.45 * side) - 0.8)))


def camera(signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Frame of a camera with variance SLOPE * s + INTERCEPT."""
    return OFFSET + GAIN * rng.poisson((signal - OFFSET) / GAIN) + rng.normal(0, READ, signal.shape)


def simulated(tries: int) -> list[str]:
    """Bias and spread of the line over repeated measurements with known truth."""
    lines = head("frames", "tries", "a", "error", "variance at 500", "error", "spread of a")
    scene = spot(256) * (1 + 0.15 * (np.random.default_rng(0).random((256, 256)) - 0.5))
    cases = {
        "one smooth frame, 1024x1024": lambda rng: camera(spot(1024), rng),
        "one smooth frame, 256x256": lambda rng: camera(spot(256), rng),
        "static scene, 2 frames of 256x256": lambda rng: np.stack([camera(scene, rng) for _ in range(2)]),
        "static scene, 5 frames of 256x256": lambda rng: np.stack([camera(scene, rng) for _ in range(5)]),
        "static scene, 50 frames of 256x256": lambda rng: np.stack([camera(scene, rng) for _ in range(50)]),
    }
    for name, draw in cases.items():
        measured = [noise.measure(draw(np.random.default_rng([i, 7]))) for i in range(tries)]
        a, at = np.mean([m.a for m in measured]), np.mean([m.a * 500 + m.b for m in measured])
        truth = SLOPE * 500 + INTERCEPT
        spread = f"{100 * np.std([m.a for m in measured]) / SLOPE:.1f} %"
        lines.append(row(name, tries, float(a), percent(a, SLOPE), float(at), percent(at, truth), spread))
    return [f"Simulated camera, variance = {SLOPE:g} * s {INTERCEPT:+g}.", "", *lines]


def convallaria() -> list[str]:
    """Line and the likelihood of all kinds on a real frame, fitted to one half and judged on the other."""
    path = data_root() / "convallaria" / "calibration" / "field_diaphragm_frame0000.tif"
    frame = tifffile.imread(path)
    model, seconds = timed(noise.measure, frame)
    naive = noise.photon_transfer([frame.astype(np.float32)])
    b, naive_b = -model.b / model.a, -naive.b / naive.a
    x, y = model.fit_data.correlation
    lines = [
        f"Convallaria calibration frame ({frame.shape[0]}x{frame.shape[1]}, one frame), variance = a * (mean - b); "
        f"published with the data: a {README_A}, b {README_B:g}, from levels above 900.",
        "",
        *head("method", "a", "error", "b", "error", "seconds"),
        row("measure", model.a, percent(model.a, README_A), b, percent(b, README_B), round(seconds, 2)),
        row("photon_transfer", naive.a, percent(naive.a, README_A), naive_b, percent(naive_b, README_B), ""),
        "",
        f"Noise of neighbours: correlation x {x:.3f}, y {y:.3f} "
        "(alternating noise, whose gain by the second difference photon_transfer divides out).",
        "",
        "Fitted to the upper half of the frame, judged on the lower one, a quarter of which is brighter "
        "(log-likelihood in nats per pixel; the histogram's bins are 129 and 32 wide):",
        "",
        *head("kind", "fit, seconds", "log-likelihood", "variance at 520", "at 5000", "at 25000"),
    ]
    from divseg.denoise.noise.pixel_pairs import from_smooth

    half = frame.shape[0] // 2
    other = from_smooth(frame[half:], (None, None))
    s, x = torch.from_numpy(other.signal), torch.from_numpy(other.observed)
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("poisson-gaussian", {}),
        ("mixture", {"n_gaussian": 1}),
        ("mixture", {}),
        ("mixture", {"n_coeff": 3}),
        ("histogram", {}),
        ("histogram", {"bins": 1024}),
    ]
    for kind, options in kinds:
        fitted, seconds = timed(noise.measure, frame[:half], kind=kind, **options)
        score = float(fitted.log_prob(x, s).double().mean())
        at = [float(fitted.variance(torch.tensor(v))) for v in (520.0, 5000.0, 25000.0)]
        name = ", ".join([kind, *(f"{k} {v}" for k, v in options.items())])
        lines.append(row(name, round(seconds, 2), f"{score:.4f}", *at))
    return lines


def bbbc039(count: int, model: Path | None, learned: list[Path]) -> list[str]:
    """Bootstrap and estimate on images with simulated camera noise."""
    files = sorted((data_root() / "bbbc039" / "images").glob("*.tif"))[:count]
    clean, noisy = [], []
    for i, file in enumerate(files):
        grey = np.maximum(0.0, (tifffile.imread(file).astype(np.float64) - 110.0) * (255.0 / 1500.0))
        rng = np.random.default_rng([2026, i])
        photons = PHOTONS * grey + BACKGROUND
        clean.append((OFFSET + GAIN * photons).astype(np.float32))
        y = OFFSET + GAIN * rng.poisson(photons) + rng.normal(0, READ, grey.shape)
        noisy.append(np.clip(np.rint(y), 0, 65535).astype(np.uint16))
    sources: dict[str, Any] = {"clean images": clean}
    for width in (1.0, 2.0, 3.0):
        sources[f"Gaussian smoothing, sigma {width:g} px"] = [
            ndi.gaussian_filter(y.astype(float), width) for y in noisy
        ]
    if model is not None:
        net = DivNoising.load(model)
        sources["our own MMSE (8 samples)"] = [net.mmse(y, n=8) for y in noisy]
    lines = [
        f"BBBC039, {len(files)} images with simulated noise, variance = {SLOPE:g} * s {INTERCEPT:+g}.",
        "",
        *head("noise from", "a", "error", "b", "error", "variance at 110", "error", "at 170", "error"),
    ]

    def add(name: str, a: float, b: float) -> None:
        at = [a * s + b for s in (110.0, 170.0)]
        truths = [SLOPE * s + INTERCEPT for s in (110.0, 170.0)]
        both = [c for v, t in zip(at, truths, strict=True) for c in (v, percent(v, t))]
        lines.append(row(name, a, percent(a, SLOPE), b, percent(b, INTERCEPT), *both))

    estimate = noise.photon_transfer(y.astype(np.float32) for y in noisy)
    add("estimated from the noisy images alone", estimate.a, estimate.b)
    for name, images in sources.items():
        measured = noise.bootstrap(noisy, images)
        add(f"bootstrap, {name}", measured.a, measured.b)
        residual = np.concatenate([(y.astype(float) - d).ravel() for y, d in zip(noisy, images, strict=True)])
        signal = np.concatenate([np.asarray(d, float).ravel() for d in images])
        a, b = np.polyfit(signal, residual**2, 1)
        add(f"naive: squared residual against denoised, {name}", float(a), float(b))
    for folder in learned:
        trained = DivNoising.load(folder)
        strength = trained.noise.prior_strength
        remark = f"{trained.training['megapixels']:.0f} Mpx, " + (f"prior {strength:.3g}" if strength else "no prior")
        add(f"co-learned in `{folder.name}` ({remark})", trained.noise.a, trained.noise.b)
    return lines


def careamics() -> list[str]:
    """Likelihood of the class of CAREamics on a file of ours, if the package is installed."""
    try:
        from careamics.config.noise_model.noise_model_config import GaussianMixtureNMConfig
        from careamics.models.lvae.noise_models import GaussianMixtureNoiseModel
    except ImportError:
        return ["CAREamics is not installed here: its class was not compared."]
    import tempfile

    model = noise.measure(camera(spot(256), np.random.default_rng(0)), kind="mixture")
    with tempfile.TemporaryDirectory() as folder:
        path = model.save(Path(folder) / "noise.npz")
        theirs = GaussianMixtureNoiseModel(GaussianMixtureNMConfig(path=path))
    s = torch.linspace(*model.signal_range(), 2000)[:, None].expand(-1, 50).contiguous()
    x = s + model.variance(s).sqrt() * torch.linspace(-3, 3, 50)
    worst = float((model.log_prob(x, s) - theirs.likelihood(x, s).log()).abs().max())
    return [f"CAREamics' GaussianMixtureNoiseModel reads our .npz; largest difference of log-likelihoods: {worst:.1e}."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--learned", type=Path, action="append", default=[])
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--tries", type=int, default=10)
    a = parser.parse_args()
    warnings.simplefilter("ignore", DivsegWarning)
    learned = [*([a.model] if a.model else []), *a.learned]
    parts = [simulated(a.tries), convallaria(), bbbc039(a.images, a.model, learned), careamics()]
    options = " ".join([*(["--model FOLDER"] if a.model else []), *(["--learned FOLDER"] * len(a.learned))])
    command = f"python -m benchmarks.noise_models {options} --images {a.images} --tries {a.tries}".replace("  ", " ")
    write_result("noise_models", "Noise models against the truth", command, "\n\n".join("\n".join(p) for p in parts))


if __name__ == "__main__":
    main()
